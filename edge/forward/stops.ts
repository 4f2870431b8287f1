/** Where the first stop string in a text begins. */
function firstStop(text: string, from: number, stops: readonly string[]): { at: number; stop: string } | undefined {
  let first: { at: number; stop: string } | undefined;
  for (const stop of stops) {
    const at = text.indexOf(stop, from);
    if (at >= 0 && (first === undefined || at < first.at)) first = { at, stop };
  }
  return first;
}

/**
 * Stop strings over the seam between two upstreams: one that begins in the first one's text and ends in the second's is seen by
 * neither. So the second is not told of them, and they are looked for here, with as many characters held back as may be the
 * beginning of one: the longest less one, as vLLM does it.
 */
export class Stops {
  readonly #stops: readonly string[];
  readonly #include: boolean;
  readonly #hold: number;
  /** The end of what the client has, in which a stop string may have begun, and then what it has not. */
  #text: string;
  /** How much of it the client has. */
  #sent: number;
  stopped: string | undefined;

  /**
   * @param delivered what the client has
   * @param held what the first upstream had generated besides
   * @param include the stop string belongs to the answer
   */
  constructor(stops: readonly string[], include: boolean, delivered: string, held: string) {
    this.#stops = stops;
    this.#include = include;
    this.#hold = Math.max(0, ...stops.map(({ length }) => length - 1));
    const before = this.#hold === 0 ? "" : delivered.slice(-this.#hold);
    this.#text = before + held;
    this.#sent = before.length;
  }

  /** What the client may have of a new text and of what was held. */
  push(text: string): string {
    if (this.stopped !== undefined) return "";
    // what was there before was looked through by whoever generated it
    const from = Math.max(0, this.#text.length - this.#hold);
    this.#text += text;
    const found = firstStop(this.#text, from, this.#stops);
    if (found !== undefined) {
      this.stopped = found.stop;
      this.#text = this.#text.slice(0, found.at + (this.#include ? found.stop.length : 0));
      return this.flush();
    }
    return this.#upTo(Math.max(this.#sent, this.#text.length - (this.#include ? 0 : this.#hold)));
  }

  /** The rest: nothing follows. */
  flush(): string {
    return this.#upTo(this.#text.length);
  }

  #upTo(end: number): string {
    const text = this.#text.slice(this.#sent, end);
    const kept = Math.max(0, end - this.#hold);
    this.#text = this.#text.slice(kept);
    this.#sent = end - kept;
    return text;
  }
}
