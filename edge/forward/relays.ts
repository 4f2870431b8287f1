import { FairleadError } from "../../schema/errors.ts";
import type { RouterEnv } from "../env.ts";
import { carriageHeader, carriageOutcome, type CarriageFailure } from "./outcome.ts";
import type { Asked } from "./reattach.ts";
import { orSilence } from "./silence.ts";
import { Suspects } from "./suspects.ts";
import { questionMs } from "./vigil.ts";

/** What this isolate holds against relays and hosts. */
export const suspects = new Suspects();

/** What a relay's answer says, of the replica and of itself. */
export function heardFrom(response: Response, relay: string): Asked {
  const failure = response.headers.get(carriageHeader) as CarriageFailure | null;
  if (suspects.isSilent(relay)) answersAgain(relay, suspects.unsilence(relay, Date.now()));
  if (failure === null) return { reply: { kind: "answer", response }, carrier: "good" };
  if (failure === "overloaded") return shed(relay);
  if (failure === "no_ack") suspects.add(relay, Date.now());
  const carrier = failure === "no_agent" || failure === "no_ack" ? "absent" : failure === "carrier_lost" ? "lost" : "good";
  return { reply: carriageOutcome(failure, response.headers.get("x-fairlead-reason") ?? ""), carrier };
}

/** The platform's word for an object that has more to do than it can (facts/cloudflare.md §2). */
export const isOverloaded = (error: unknown): boolean => error instanceof Error && "overloaded" in error && error.overloaded === true;
/** An object's queue is worked off within about that time, or not at all. */
const shedMs = 1_000;

/**
 * It took nothing in, and asking it again would make that worse (failure model, row 21): another relay is asked; where none is left the
 * replica is left alone for a moment, and a request for which nothing else is there is refused with 429.
 */
export function shed(relay: string): Asked {
  suspects.add(relay, Date.now());
  const error = new FairleadError("saturated", "Cannot serve the request: the way to the replica is overloaded", { retryAfterMs: shedMs });
  return { reply: { kind: "throttled", retryAfterMs: shedMs, error }, carrier: "absent" };
}

/** An isolate that was held up itself has its answers so much later. */
const lateMs = 50;

/** @param silentMs undefined for a relay that was not silent */
function answersAgain(relay: string, silentMs: number | undefined): void {
  if (silentMs !== undefined) console.warn(JSON.stringify({ message: "a relay answers again", relay, silentMs }));
}

/** Asks a relay whether it is there. One that does not say so in time, or cannot be reached, is passed over until it is heard. */
export async function askRelay(env: RouterEnv, relay: string): Promise<void> {
  const asked = env.RELAY.getByName(relay).isLinked().then(
    (linked) => (answersAgain(relay, suspects.answered(relay, linked, Date.now())), true),
    // one of a fleet that is older than this router does not know the question (a TypeError of the platform's), which is a sign of life
    (error: unknown) => isOverloaded(error) || error instanceof TypeError,
  );
  let heard = await orSilence(asked, questionMs);
  if (heard === "silent") heard = await orSilence(asked, lateMs);
  if (heard !== "silent" && heard.value) return;
  if (suspects.silence(relay, Date.now())) console.warn(JSON.stringify({ message: "a relay does not answer: requests go by its host's others until it does", relay }));
}

export const silence: Asked = { reply: { kind: "lost", why: "silent: its relay does not answer" }, carrier: "lost" };
export const desertion: Asked = { reply: { kind: "lost", why: "silent: none of its host's relays answers" }, carrier: "good" };
