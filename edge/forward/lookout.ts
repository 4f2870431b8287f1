import type { Now } from "../../schema/clock.ts";
import { linkTimes } from "../../schema/protocol.ts";
import type { Look, Waiting } from "./outcome.ts";
import type { Suspects } from "./suspects.ts";
import { Vigil } from "./vigil.ts";

export interface LookoutOptions {
  suspects: Suspects;
  /** How many relays the host has; its gate's place is behind them. */
  relays: number;
  /** The name of what is at a place: by it what is remembered of it is kept. */
  nameOf: (carrier: number) => string;
  /** What may be in a relay's hands may be sent by another one all the same. */
  repeatable: boolean;
  /** Somebody else can be asked. */
  elsewhere: boolean;
  /** Ask a carrier, by its name, whether it is there. */
  ask: (carrier: string) => void;
  now: () => Now;
  waiting: Waiting;
}

type Verdict = "silent" | "deserted";

/** One request's look after the relay, or the gate, that carries it. As long as its answer comes in time, nothing is looked at. */
export class Lookout {
  readonly #options: LookoutOptions;
  #vigil: Vigil | undefined;
  /** The place of what has it; undefined while that looks after itself. */
  #carrier: number | undefined;
  #beganAt: Now = 0;
  /** Ends the wait for an answer's head; undefined while none is waited for. */
  #giveUp: ((verdict: Verdict) => void) | undefined;
  #forsook = false;

  constructor(options: LookoutOptions) {
    this.#options = options;
    options.waiting.look = this.look;
  }

  /** Whether a relay is not to be asked for this answer: it did not answer this request, or not of late when an answer is to go on. */
  isOut(carrier: number, goesOn: boolean): boolean {
    return (goesOn || this.#forsook) && this.#options.suspects.isSilent(this.#options.nameOf(carrier));
  }

  /** What carries it now looks after itself. */
  rest(): void {
    this.#carrier = undefined;
  }

  /** A gate has begun to answer: it times its beginnings itself, and not what follows. */
  begun(carrier: number): void {
    this.#vigil = undefined;
    this.#carrier = carrier;
    this.#beganAt = this.#options.now();
  }

  /** What a relay answers, or why it is not waited for any longer. What it says after that is nobody's, and ends with its request: to cancel it would end what another has begun to take over. */
  head(carrier: number, beganAt: Now, asked: Promise<Response>): Promise<Response | Verdict> {
    this.#vigil = undefined;
    this.#carrier = carrier;
    this.#beganAt = beganAt;
    return new Promise((resolve, reject) => {
      const giveUp = (verdict: Verdict): void => {
        this.#giveUp = undefined;
        resolve(verdict);
      };
      this.#giveUp = giveUp;
      const answer = async (): Promise<void> => {
        try {
          const response = await asked;
          resolve(response);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
        if (this.#giveUp === giveUp) this.#giveUp = undefined;
      };
      void answer();
    });
  }

  readonly look: Look = (receivedBytes) => {
    const { suspects, relays, nameOf, repeatable, elsewhere, ask, now, waiting } = this.#options;
    const carrier = this.#carrier;
    if (carrier === undefined) return linkTimes.dispatchAckMs;
    const giveUp = this.#giveUp;
    this.#vigil ??= new Vigil(suspects, nameOf(carrier), Array.from({ length: relays }, (_, i) => i).filter((i) => i !== carrier).map(nameOf), this.#beganAt);
    const { ask: silent, verdict, nextMs } = this.#vigil.look(now(), giveUp === undefined ? receivedBytes : undefined);
    for (const one of silent) ask(one);
    if (verdict === undefined || !repeatable) return nextMs;
    if (verdict === "silent") {
      this.#forsook = true;
      waiting.detour = true;
      if (giveUp === undefined) return "silent";
      giveUp(verdict);
    } else if (elsewhere) giveUp?.(verdict);
    return nextMs;
  };
}
