import type { Now } from "../../schema/clock.ts";
import type { ScalePolicy } from "../../schema/policy.ts";
import { adaptive, coldStartMsDefault, type AdaptiveState } from "./adaptive.ts";
import { boundsAt, type Held } from "./bounds.ts";
import { census, isAskedFor } from "./census.ts";
import { concurrency, type Panic } from "./concurrency.ts";
import type { Hysteresis } from "./hysteresis.ts";
import { instanceAware } from "./instanceAware.ts";
import { askedFor, cut, within, type Opinion, type Question, type Signals } from "./opinion.ts";
import { counted, expected, type Popularity } from "./popularity.ts";
import { queueLength } from "./queueLength.ts";
import { requestRate } from "./requestRate.ts";
import { slo, type SloState } from "./slo.ts";

/** What `decide` remembers; JSON-able. */
export interface DecideState {
  at: Now;
  /** The policy that it was decided by, as text: another one holds at once. */
  policy: string;
  /** When the autoscaler is asked again. */
  nextAt: Now;
  /** What it said. */
  said: number;
  reason: string;
  bounds: Held;
  needed: number;
  desired: number;
  /** The autoscaler's own. */
  own: Own;
  popularity?: Popularity;
}

type Own = Partial<{ hysteresis: Hysteresis; adaptive: AdaptiveState; panic: Panic; slo: SloState }>;

export interface Decision {
  /** How many are needed. */
  needed: number;
  /** How many are wanted: those, and so many to spare. */
  desired: number;
  action: "up" | "down" | "hold";
  /** In words, with the figures it rests on. */
  reason: string;
  state: DecideState;
  /** When to decide again. */
  nextMs: number;
}

/**
 * How many replicas a service wants. Asked twice at a time, it says the same: an autoscaler is asked again only when it is due, or when it
 * is from zero, and what it said holds until then.
 */
export function decide(policy: ScalePolicy, signals: Signals, state: DecideState | undefined, now: Now): Decision {
  const at = Math.max(now, state?.at ?? now);
  const text = JSON.stringify(policy);
  const isNew = state !== undefined && state.policy !== text;
  const bounds = state === undefined || isNew || state.bounds.until <= at ? boundsAt(policy, at) : state.bounds;
  const { ready, starting, failing } = census(signals.replicas);
  // of a state that was lost, what there is tells what was wanted
  const before = state?.needed ?? within(ready.length + starting.length - policy.overprovision, bounds);

  const isWoken = before === 0 && isAskedFor(signals) && policy.autoscaler !== "request_rate" && policy.autoscaler !== "instance_aware";
  const asked = state === undefined || isNew || at >= state.nextAt || isWoken ? ask(policy, { signals, bounds, before, isNew, now: at }, ownOf(policy, state)) : undefined;
  const said = asked?.opinion.needed ?? state?.said ?? before;
  const why = asked?.opinion.reason ?? state?.reason ?? "";

  const popularity = policy.prestart ? counted(state?.popularity, signals.arrivals, at) : undefined;
  const known = popularity === undefined ? undefined : expected(popularity, at, signals.coldStartMs ?? coldStartMsDefault);
  const { needed, reason } = settle({ said, why, bounds, before, known, kept: keptBy(signals, failing) });
  const desired = within(needed + policy.overprovision, bounds);
  const was = state?.desired ?? within(before + policy.overprovision, bounds);
  const action = desired > was ? "up" : desired < was ? "down" : "hold";
  const nextAt = asked === undefined ? (state?.nextAt ?? at) : at + asked.opinion.nextMs;
  return {
    needed, desired, action,
    reason: `${action === "hold" ? `stays at ${desired}` : `${action} from ${was} to ${desired}`}: ${reason}${desired > needed ? `; ${desired - needed} to spare` : ""}`,
    state: { at, policy: text, nextAt, said, reason: why, bounds, needed, desired, own: asked?.own ?? state?.own ?? {}, ...(popularity === undefined ? {} : { popularity }) },
    nextMs: Math.max(1, Math.min(nextAt, bounds.until) - at),
  };
}

/** Of an autoscaler's memory, what another policy may go on with: all of it under the same autoscaler. */
function ownOf({ autoscaler }: ScalePolicy, state: DecideState | undefined): Own {
  return state !== undefined && (JSON.parse(state.policy) as ScalePolicy).autoscaler === autoscaler ? state.own : {};
}

function ask(policy: ScalePolicy, about: Omit<Question<never>, "policy" | "state">, own: Own): { opinion: Opinion<unknown>; own: Own } {
  const put = <K extends keyof Own>(key: K, of: (question: Question<NonNullable<Own[K]>>) => Opinion<NonNullable<Own[K]>>): { opinion: Opinion<unknown>; own: Own } => {
    const opinion = of({ ...about, policy, state: own[key] });
    return { opinion, own: { [key]: opinion.state } };
  };
  switch (policy.autoscaler) {
    case "fixed":
      return { opinion: { needed: about.bounds.min, reason: askedFor(about.bounds.min), state: undefined, nextMs: 60_000 }, own: {} };
    case "adaptive":
      return put("adaptive", adaptive);
    case "request_rate":
      return put("hysteresis", requestRate);
    case "instance_aware":
      return put("hysteresis", instanceAware);
    case "queue_length":
      return put("hysteresis", queueLength);
    case "concurrency":
      return put("panic", concurrency);
    case "slo":
      return put("slo", slo);
  }
}

/** Why nothing is to be removed now, in words. */
function keptBy({ braked, partial }: Signals, failing: number): string | undefined {
  if (braked) return "many hosts were lost at once";
  if (partial) return "not every region was heard";
  return failing > 0 ? `${failing} fail to start` : undefined;
}

/** From what an autoscaler says to what is needed, with the reason for each difference. */
function settle({ said, why, bounds, before, known, kept }: { said: number; why: string; bounds: Held; before: number; known: string | undefined; kept: string | undefined }): { needed: number; reason: string } {
  const reasons = [why];
  let needed = said;
  if (known !== undefined && needed < 1) {
    needed = 1;
    reasons.push(known);
  }
  if (kept !== undefined && within(needed, bounds) < before) {
    needed = before;
    reasons.push(`none is removed while ${kept}`);
  }
  const clipped = within(needed, bounds);
  return { needed: clipped, reason: [...reasons, cut(needed, bounds), bounds.reason].filter((reason) => reason !== undefined && reason !== "").join("; ") };
}
