import { FrameError, windowBytes, type Frame } from "../../schema/frames.ts";

/** Credit of one direction of a stream, on the side that sends: bytes it may still send. */
export class SendCredit {
  #left = windowBytes;

  get left(): number {
    return this.#left;
  }

  spend(bytes: number): void {
    this.#left -= bytes;
  }

  grant(bytes: number): void {
    this.#left += bytes;
  }
}

/** Credit of one direction of a stream, on the side that receives. */
export class ReceiveCredit {
  /** What the sender may still send. */
  #outstanding = windowBytes;
  #sequence = 0;

  get outstanding(): number {
    return this.#outstanding;
  }

  /**
   * Take in a body frame.
   *
   * @throws FrameError on a gap in the sequence, or more bytes than were granted: the sender does not keep the protocol
   */
  take(frame: Frame): void {
    if (frame.sequence !== this.#sequence) throw new FrameError(`Cannot accept body frame ${frame.sequence} of stream ${frame.stream}: ${this.#sequence} is next`);
    if (frame.payload.byteLength > this.#outstanding) throw new FrameError(`Cannot accept ${frame.payload.byteLength} bytes on stream ${frame.stream}: ${this.#outstanding} were granted`);
    this.#sequence = (this.#sequence + 1) >>> 0;
    this.#outstanding -= frame.payload.byteLength;
  }

  /**
   * How much to grant now, with so many bytes still waiting to be read: enough to fill the window again, in steps of at least a
   * quarter, so that a grant is rare.
   */
  due(queued: number): number {
    const room = windowBytes - this.#outstanding - Math.max(0, queued);
    return room >= windowBytes / 4 ? room : 0;
  }

  grant(bytes: number): void {
    this.#outstanding += bytes;
  }
}

/** A stream id that no open stream has. Starts at a random place, so that a woken Relay does not meet its former self's. */
export class StreamIds {
  #next: number;

  constructor(random: () => number) {
    this.#next = Math.floor(random() * 2 ** 32);
  }

  next(taken: { has(id: number): boolean }): number {
    do this.#next = (this.#next + 1) >>> 0;
    while (taken.has(this.#next));
    return this.#next;
  }
}
