import { linkTimes } from "../../schema/protocol.ts";

/** Bytes of all streams together, half of what an isolate has (facts/cloudflare.md §1): other objects of the class share it, and what is on its way is in it too. */
export const heldBytesMax = 64 * 1024 * 1024;
/** Requests that the agent has not acknowledged: as many as an object takes in (1,000 a second, facts/cloudflare.md §2) within the time that an acknowledgement has. */
export const unacknowledgedMax = linkTimes.dispatchAckMs;

/** How much one Relay holds for others: what clients have not read, and what its agent has not said to have got. */
export class Held {
  #unacknowledged = 0;
  #sentBytes = 0;
  #unreadBytes = 0;

  /** It takes no new request: one more would wait longer than an acknowledgement has time, or not fit. */
  get isFull(): boolean {
    return this.#unacknowledged >= unacknowledgedMax || this.#sentBytes + this.#unreadBytes >= heldBytesMax;
  }

  opened(): void {
    this.#unacknowledged++;
  }

  /** Of a request that is not acknowledged, so much has been sent. */
  sent(bytes: number): void {
    this.#sentBytes += bytes;
  }

  /** The agent has a request, or is not to have it any more. @param bytes that were sent of it until then */
  settled(bytes: number): void {
    this.#unacknowledged--;
    this.#sentBytes -= bytes;
  }

  /** Of all answers together, as they were looked at. */
  unread(bytes: number): void {
    this.#unreadBytes = bytes;
  }
}
