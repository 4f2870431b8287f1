import { bare, type Scrubber } from "./scrub.ts";

/** A line longer than this is cut: no program that a person reads writes longer ones. */
const lineMax = 16 * 1024;
/** So much more of it is looked at, so that no secret stands across the cut. */
const overlap = 8 * 1024;

export interface LinesOptions {
  scrubber: Scrubber;
  /** Terminal escapes stay, in lines that hold no secret. */
  raw: boolean;
}

/** Takes a log in pieces, gives it line by line, scrubbed. A secret that two pieces share is whole again in its line. */
export class CleanLines {
  readonly #options: LinesOptions;
  readonly #decoder = new TextDecoder();
  #rest = "";
  /** The rest of a line that was cut is passed over. */
  #cut = false;

  constructor(options: LinesOptions) {
    this.#options = options;
  }

  /** The lines that are whole now, each with its line break. */
  push(piece: Uint8Array | string): string {
    const parts = (this.#rest + (typeof piece === "string" ? piece : this.#decoder.decode(piece, { stream: true }))).split("\n");
    this.#rest = parts.pop() ?? "";
    let out = "";
    for (const part of parts) {
      if (!this.#cut) out += `${this.#clean(part)}\n`;
      this.#cut = false;
    }
    if (this.#rest.length > lineMax + overlap) {
      if (!this.#cut) out += `${this.#clean(this.#rest)}\n`;
      this.#cut = true;
      this.#rest = "";
    }
    return out;
  }

  /** What no line break has ended. */
  end(): string {
    const rest = this.#cut ? "" : this.#rest;
    this.#rest = "";
    return rest === "" ? "" : `${this.#clean(rest)}\n`;
  }

  #clean(line: string): string {
    const { scrubber, raw } = this.#options;
    // a secret may stand between escapes: what is looked at is what a person would see
    const plain = bare(line.length > lineMax + overlap ? line.slice(0, lineMax + overlap) : line);
    const clean = scrubber.scrub(plain);
    const shown = raw && clean === plain && scrubber.scrub(line) === line ? line : clean;
    return shown.length > lineMax ? `${shown.slice(0, lineMax)}… (cut)` : shown;
  }
}
