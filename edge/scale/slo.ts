import type { Now } from "../../schema/clock.ts";
import { digestBoundsMs, quantileMs } from "../../schema/telemetry.ts";
import { census, isAskedFor } from "./census.ts";
import { figure, within, type Opinion, type Question } from "./opinion.ts";
import { meanOf } from "./series.ts";

/** Dynamo's load planner (facts/routing-and-scaling.md §4): looks every 5 s, up beyond the target, down below 0.8 of it, by one, and not while one starts. */
const tickMs = 5_000;
const lowShare = 0.8;
/** What was answered before a step says nothing about it: the digests' minute must have passed. */
const settleMs = 60_000;
/** What was too few is tried again when demand is so much less, or after so long: requests may be others by then. */
const shortShare = 0.8;
const shortMs = 21_600_000;
/** Kubernetes' default stabilisation window of scaling down (HorizontalPodAutoscaler, `behavior.scaleDown`). */
const downMs = 300_000;

export interface SloState {
  /** When it last said another number. */
  changedAt: Now;
  /** Since when fewer would be enough. */
  lowSince?: Now;
  /** So many were too few, at so many requests/s. */
  short?: { replicas: number; perS: number; at: Now };
}

/** A percentile of TTFT or TPOT against its target: one more beyond it, one less where that many fewer would still keep it. */
export function slo(question: Question<SloState>): Opinion<SloState> {
  const { policy, signals, bounds, before, state, now } = question;
  const target = within(before, bounds);
  const worst = worstOf(question);
  const { ready, starting } = census(signals.replicas);
  const changedAt = state?.changedAt ?? -Infinity;
  const perS = meanOf(signals.arrivals, 60);
  const known = state?.short !== undefined && perS > shortShare * state.short.perS && now - state.short.at < shortMs ? state.short : undefined;
  const say = (needed: number, reason: string, lowSince?: Now): Opinion<SloState> => {
    const short = needed > target && target > 0 ? { replicas: target, perS, at: now } : known;
    return { needed, reason, nextMs: tickMs, state: { changedAt: needed === target ? Math.max(changedAt, 0) : now, ...(lowSince === undefined ? {} : { lowSince }), ...(short === undefined ? {} : { short }) } };
  };

  const isAsked = isAskedFor(signals);
  if (target === 0) return say(isAsked ? 1 : 0, isAsked ? `${signals.waiting} wait and none is needed yet` : "nobody asks");
  const why = worst?.why ?? `nothing was answered in a minute, ${signals.waiting} wait`;
  const isShort = (worst?.ratio ?? 0) > 1 || (worst === undefined && signals.waiting > 0) || signals.refused + signals.spilled > 0;
  if (isShort) {
    if (starting.length > 0) return say(target, `${why}; ${starting.length} are starting`);
    if (now - changedAt < settleMs) return say(target, `${why}; the last step is less than a minute ago`);
    return say(target + 1, why);
  }
  // with one less each of the others takes its part
  const projected = target > 1 ? (worst?.ratio ?? 0) * (target / (target - 1)) : isAsked || meanOf(signals.arrivals, downMs / 1000) > 0 ? Infinity : 0;
  if (projected >= lowShare || starting.length > 0 || ready.length < target) return say(target, why);
  if (known !== undefined && target - 1 <= known.replicas) return say(target, `${why}; ${known.replicas} were too few at ${figure(known.perS)} requests/s`);
  const lowSince = state?.lowSince ?? now;
  const waitMs = policy.downscaleDelayMs ?? downMs;
  if (now - Math.max(lowSince, changedAt) < waitMs) return say(target, `${why}; one less after ${figure(waitMs / 1000)} s of it`, lowSince);
  return say(target - 1, why);
}

/** The measure that is nearest to its target, or furthest beyond. */
function worstOf({ policy, signals }: Question<SloState>): { ratio: number; why: string } | undefined {
  const percentile = policy.slo?.percentile ?? 0.95;
  const measures = [
    { name: "TTFT", targetMs: policy.slo?.ttftMs, ms: quantileMs(digestBoundsMs.ttft, signals.ttft, percentile) },
    { name: "TPOT", targetMs: policy.slo?.tpotMs, ms: quantileMs(digestBoundsMs.itl, signals.itl, percentile) },
  ];
  let worst: { ratio: number; why: string } | undefined;
  for (const { name, targetMs, ms } of measures) {
    if (targetMs === undefined || ms === undefined || ms / targetMs <= (worst?.ratio ?? -1)) continue;
    worst = { ratio: ms / targetMs, why: `p${figure(percentile * 100)} of ${name} is ${figure(ms)} ms of ${figure(targetMs)} ms` };
  }
  return worst;
}
