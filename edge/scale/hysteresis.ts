import { cut, figure, within, type Bounds, type Opinion, type Question } from "./opinion.ts";
import { sumOf } from "./series.ts";

/**
 * SkyServe's hysteresis (SkyPilot `sky/serve/autoscalers.py`, `_AutoscalerWithHysteresis`; measured in facts/routing-and-scaling.md §4):
 * a target is taken over after so many consecutive decisions on the same side of the one that holds, one that is equal or on the other
 * side begins the count anew, and what is taken over is the newest target. From zero it is taken over at once, and so is a new policy's.
 */
export interface Hysteresis {
  target: number;
  ups: number;
  downs: number;
}

/** `AUTOSCALER_DEFAULT_DECISION_INTERVAL_SECONDS` and `AUTOSCALER_NO_REPLICA_DECISION_INTERVAL_SECONDS` (SkyPilot `sky/serve/constants.py`). */
export const decisionMs = 20_000;
export const decisionAtZeroMs = 5_000;
/** `AUTOSCALER_DEFAULT_UPSCALE_DELAY_SECONDS` and `AUTOSCALER_DEFAULT_DOWNSCALE_DELAY_SECONDS`. */
export const upscaleDelayMs = 300_000;
export const downscaleDelayMs = 1_200_000;
/** `AUTOSCALER_QPS_WINDOW_SIZE_SECONDS`. */
const qpsWindowS = 60;

/** Requests/s as SkyServe counts them: all that came in a minute, over a minute. */
export function qpsOf(arrivals: readonly number[]): number {
  // the sum of shares of a request that was spread over seconds is rarely whole
  return Math.round((sumOf(arrivals, qpsWindowS) / qpsWindowS) * 1e6) / 1e6;
}

/** What becomes of a target that an autoscaler of SkyServe's computes. */
export function settle({ policy, bounds, before, isNew, state }: Question<Hysteresis>, computed: number, why: string): Opinion<Hysteresis> {
  const target = within(computed, bounds);
  const old = within(state?.target ?? before, bounds);
  const ups = Math.trunc((policy.upscaleDelayMs ?? upscaleDelayMs) / decisionMs);
  const downs = Math.trunc((policy.downscaleDelayMs ?? downscaleDelayMs) / decisionMs);
  const next = step(isNew || old === 0, { target: old, ups: state?.ups ?? 0, downs: state?.downs ?? 0 }, target, { ups, downs });
  const waits = next.ups > 0 ? `, ${target} for ${next.ups} of ${ups} decisions` : next.downs > 0 ? `, ${target} for ${next.downs} of ${downs} decisions` : "";
  const beyond = cut(computed, bounds);
  return { needed: next.target, reason: `${why}${waits}${beyond === undefined ? "" : `; ${beyond}`}`, state: next, nextMs: within(next.target + policy.overprovision, bounds) === 0 ? decisionAtZeroMs : decisionMs };
}

function step(atOnce: boolean, before: Hysteresis, target: number, needed: { ups: number; downs: number }): Hysteresis {
  const taken = { target, ups: 0, downs: 0 };
  if (atOnce || target === before.target) return taken;
  const next = target > before.target ? { target: before.target, ups: before.ups + 1, downs: 0 } : { target: before.target, ups: 0, downs: before.downs + 1 };
  return (target > before.target ? next.ups >= needed.ups : next.downs >= needed.downs) ? taken : next;
}

/** For what a policy lacks to decide by. */
export function stay(bounds: Bounds, before: number, lack: string): { needed: number; why: string } {
  return { needed: within(before, bounds), why: `nothing says how many are needed: ${lack}` };
}

export const perSecond = (qps: number): string => `${figure(qps)} requests/s in a minute`;
