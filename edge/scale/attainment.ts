import type { Now } from "../../schema/clock.ts";
import type { ScalePolicy } from "../../schema/policy.ts";
import { digestBoundsMs } from "../../schema/telemetry.ts";
import type { Signals } from "./opinion.ts";

/** The digests' window is a minute: it is looked at twice in each. */
const stepMs = 30_000;
/** Fewer answers say nothing about a share of one in twenty. */
const answersMin = 50;
/** How far what a replica is taken to do is corrected, and by how much in a step at most. */
const stretchMin = 0.5;
const stretchMax = 1.5;
const down = 0.08;
const up = 0.02;

/** How much more, or less, a replica does than it is taken to, as its service's answers show; JSON-able. */
export interface Stretch {
  at: Now;
  by: number;
}

/** The share of a digest that was slower, taken to lie evenly within a bucket. */
export function slowerThan(bounds: readonly number[], counts: readonly number[], ms: number): { share: number; of: number } {
  let of = 0;
  let slower = 0;
  for (const [i, count] of counts.entries()) {
    const [lower, upper] = [i === 0 ? 0 : (bounds[i - 1] ?? 0), bounds[i] ?? Infinity];
    of += count;
    if (lower >= ms) slower += count;
    else if (upper > ms) slower += upper === Infinity ? count : (count * (upper - ms)) / (upper - lower);
  }
  return { share: of === 0 ? 0 : slower / of, of };
}

/**
 * Corrects what a replica is taken to do by how the SLO is kept: less where more answers were slow than may be, a little more where next to
 * none was. Not while one starts: slow answers tell of what is missing then. Beyond what people say only while replicas are busy: fast
 * answers tell of idleness otherwise.
 */
export function stretched(before: Stretch | undefined, { slo }: ScalePolicy, signals: Signals, { isBusy, isSteady }: { isBusy: boolean; isSteady: boolean }, now: Now): Stretch {
  if (before === undefined || slo === undefined) return before ?? { at: now, by: 1 };
  if (now - before.at < stepMs) return before;
  const allowed = 1 - slo.percentile;
  const measures = [slo.ttftMs === undefined ? undefined : slowerThan(digestBoundsMs.ttft, signals.ttft, slo.ttftMs), slo.tpotMs === undefined ? undefined : slowerThan(digestBoundsMs.itl, signals.itl, slo.tpotMs)];
  const known = measures.filter((measure) => measure !== undefined && measure.of >= answersMin);
  if (known.length === 0 || !isSteady) return { ...before, at: now };
  const slow = Math.max(...known.map((measure) => measure?.share ?? 0));
  const step = slow > allowed ? -Math.min(down, (down * (slow - allowed)) / allowed) : slow < allowed / 4 && (isBusy || before.by < 1) ? up : 0;
  return { at: now, by: Math.min(stretchMax, Math.max(stretchMin, before.by * (1 + step))) };
}
