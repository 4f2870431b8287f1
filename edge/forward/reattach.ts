import type { AttemptWay } from "../../schema/frames.ts";
import type { Now } from "../../schema/clock.ts";
import { linkTimes } from "../../schema/protocol.ts";
import type { Reattach, Reply } from "./outcome.ts";

/** What became of one way to an answer. */
export interface Asked {
  reply: Reply;
  /**
   * What the carrier did: it did its work, whatever the reply is, or no other is to be asked; it was not there, so nothing went out, or
   * nothing was heard of it; or it was lost with what it carried.
   */
  carrier: "good" | "absent" | "lost";
}

export interface WaysOptions {
  /** Carriers, at least one. */
  count: number;
  /** Which of them is first. */
  first: number;
  /** Ask through a carrier. */
  ask: (carrier: number, way: Omit<AttemptWay, "id">) => Promise<Asked>;
  /** Nobody waits for the answer any more. */
  gone: () => boolean;
  now: () => Now;
  wait: (ms: number) => Promise<void>;
}

/**
 * Between two rounds over all carriers, doubled up to the most: an agent whose links are all lost tries again within half a second
 * (agent/reconnect.ts), and what comes back is to be seen soon.
 */
const pauseMs = 50;
const pauseMsMax = 400;
/** Ways in a row that bring nothing: an answer that breaks off at the same byte again and again does so for a reason. */
const fruitlessMax = 3;

/**
 * The ways to one answer, one after the other: through another carrier when one is lost, while the agent keeps the answer. What was
 * begun is not begun again.
 */
export class Ways {
  readonly #options: WaysOptions;
  #carrier: number;
  #turn = 0;
  #receivedBytes = -1;
  #fruitless = 0;

  constructor(options: WaysOptions) {
    this.#options = options;
    this.#carrier = options.first;
  }

  /** Have it begun. A carrier that is not there costs one look at each of the others; one that is lost, as much as going on does. */
  begin(): Promise<Reply> {
    return this.#round({}, false);
  }

  /** Go on with it, through another carrier first. */
  readonly reattach: Reattach = async (receivedBytes) => {
    this.#fruitless = receivedBytes > this.#receivedBytes ? 0 : this.#fruitless + 1;
    this.#receivedBytes = receivedBytes;
    if (this.#fruitless >= fruitlessMax || this.#options.gone()) return undefined;
    this.#next();
    const reply = await this.#round({ from: receivedBytes }, true);
    return reply.kind === "answer" ? (reply.response.body ?? undefined) : undefined;
  };

  #next(): void {
    this.#carrier = (this.#carrier + 1) % this.#options.count;
  }

  /** @param patient look again after a pause: the answer has been begun, and is kept */
  async #round(place: { from?: number }, patient: boolean): Promise<Reply> {
    const { count, ask, gone, now, wait } = this.#options;
    const until = now() + linkTimes.reattachMs;
    let ms = pauseMs;
    for (let tried = 1; ; tried++) {
      const { reply, carrier } = await ask(this.#carrier, { turn: this.#turn++, ...place });
      if (carrier === "good" || gone()) return reply;
      if (carrier === "lost") patient = true;
      this.#next();
      if (tried % count !== 0) continue;
      if (!patient || now() + ms > until) return reply;
      await wait(ms);
      ms = Math.min(2 * ms, pauseMsMax);
      if (gone()) return reply;
    }
  }
}
