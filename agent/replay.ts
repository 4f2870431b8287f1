/** The first piece of memory; most answers that are no streams fit into it. */
const firstBytes = 4 * 1024;

/**
 * The last bytes of an answer, by their places in it: what another link may ask for again. It grows as the answer does, up to
 * `bytesMax`; from there on the oldest bytes go.
 */
export class Replay {
  readonly #bytesMax: number;
  /** Place p is at p % length; while it still grows nothing has gone, and that is p. */
  #ring = new Uint8Array(0);
  #end = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The place after the last byte. */
  get end(): number {
    return this.#end;
  }

  /** How much more goes in before the oldest bytes go. */
  get room(): number {
    return Math.max(0, this.#bytesMax - this.#end);
  }

  /** The memory it takes. */
  get bytes(): number {
    return this.#ring.byteLength;
  }

  push(payload: Uint8Array): void {
    const kept = payload.byteLength > this.#bytesMax ? payload.subarray(payload.byteLength - this.#bytesMax) : payload;
    this.#grow(this.#end + payload.byteLength);
    this.#end += payload.byteLength;
    const at = (this.#end - kept.byteLength) % this.#ring.byteLength || 0;
    const first = kept.subarray(0, this.#ring.byteLength - at);
    this.#ring.set(first, at);
    this.#ring.set(kept.subarray(first.byteLength), 0);
  }

  #grow(end: number): void {
    let size = this.#ring.byteLength || firstBytes;
    while (size < end && size < this.#bytesMax) size *= 2;
    if (size === this.#ring.byteLength) return;
    const larger = new Uint8Array(size);
    larger.set(this.#ring);
    this.#ring = larger;
  }

  /** The bytes from a place on, as a copy; undefined when some of them have gone, or the place is beyond the end. */
  since(from: number): Uint8Array | undefined {
    if (from > this.#end || from < this.#end - this.#bytesMax) return undefined;
    const size = this.#end - from;
    const copy = new Uint8Array(size);
    if (size === 0) return copy;
    const at = from % this.#ring.byteLength;
    const first = this.#ring.subarray(at, at + Math.min(size, this.#ring.byteLength - at));
    copy.set(first);
    copy.set(this.#ring.subarray(0, size - first.byteLength), first.byteLength);
    return copy;
  }
}
