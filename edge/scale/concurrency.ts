import type { Now } from "../../schema/clock.ts";
import { census, refusedInFlight } from "./census.ts";
import { figure, type Opinion, type Question } from "./opinion.ts";
import { meanOf } from "./series.ts";

/** Knative's defaults (`config-autoscaler`; facts/routing-and-scaling.md §4). */
const tickMs = 2_000;
const stableS = 60;
/** 10 % of the stable window. */
const panicS = 6;
/** 200 %: as many times what is ready. */
const panicThreshold = 2;
const target = 100;
const utilisation = 0.7;
const upRateMax = 1_000;
const downRateMax = 2;
const zeroGraceMs = 30_000;

export interface Panic {
  /** When the threshold was last passed; absent: no panic. */
  panicAt?: Now;
  /** The most that were needed since it began. */
  most: number;
  /** Since when nothing is needed. */
  zeroSince?: Now;
}

/**
 * Knative's `KPA`: requests in flight over `targetConcurrency` × 70 %, averaged over a stable minute; over six seconds while that says at
 * least twice what is ready, and never down until a stable window after. The last replica goes when nothing was in flight for a
 * stable window and the grace period.
 */
export function concurrency({ policy, signals, state, now }: Question<Panic>): Opinion<Panic> {
  const each = (policy.targetConcurrency ?? target) * utilisation;
  const ready = Math.max(1, census(signals.replicas).ready.length);
  const refused = refusedInFlight(signals);
  const stable = meanOf(signals.concurrency, stableS) + refused;
  const panic = meanOf(signals.concurrency, panicS) + refused;
  const least = Math.floor(ready / downRateMax);
  const limit = (wanted: number): number => Math.min(Math.max(wanted, least), ready * upRateMax);
  const [byStable, byPanic] = [limit(Math.ceil(stable / each)), limit(Math.ceil(panic / each))];

  const isOver = Math.ceil(panic / each) / ready >= panicThreshold;
  const panicAt = isOver ? now : state?.panicAt !== undefined && now - state.panicAt <= stableS * 1000 ? state.panicAt : undefined;
  const computed = panicAt === undefined ? byStable : Math.max(byStable, byPanic, state?.panicAt === undefined ? 0 : state.most);
  const why = panicAt === undefined ? `${figure(stable)} in flight in a minute, ${figure(each)} each` : `${figure(panic)} in flight in ${panicS} s, ${figure(each)} each: at least twice what is ready`;

  const isIdle = computed === 0 || (stable === 0 && panicAt === undefined);
  const zeroSince = isIdle ? (state?.zeroSince ?? now) : undefined;
  const isGrace = zeroSince !== undefined && now - zeroSince < zeroGraceMs;
  const needed = isIdle && !isGrace ? 0 : isIdle ? Math.max(1, computed) : computed;
  return {
    needed, reason: isGrace ? `nothing in flight for a minute; the last goes ${zeroGraceMs / 1000} s later` : why,
    state: { most: panicAt === undefined ? 0 : computed, ...(panicAt === undefined ? {} : { panicAt }), ...(zeroSince === undefined ? {} : { zeroSince }) },
    nextMs: tickMs,
  };
}
