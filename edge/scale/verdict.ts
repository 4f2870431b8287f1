import type { RolloutPolicy } from "../../schema/policy.ts";
import type { VersionSeen } from "../../schema/scale.ts";
import { digestBoundsMs, quantileMs } from "../../schema/telemetry.ts";

/** A version's attempts between two sums of them; what a sum lost by a Hub's waking counts as nothing. */
export function seenSince(seen: readonly VersionSeen[], base: readonly VersionSeen[], version: number): VersionSeen {
  const now = sumOf(seen, version);
  const then = sumOf(base, version);
  return {
    version,
    answers: Math.max(0, now.answers - then.answers),
    failures: Math.max(0, now.failures - then.failures),
    ttft: now.ttft.map((count, i) => Math.max(0, count - (then.ttft[i] ?? 0))),
  };
}

/** All that is there of one version, as one. */
function sumOf(seen: readonly VersionSeen[], version: number): VersionSeen {
  const sum: VersionSeen = { version, answers: 0, failures: 0, ttft: [] };
  for (const row of seen) {
    if (row.version !== version) continue;
    sum.answers += row.answers;
    sum.failures += row.failures;
    for (const [i, count] of row.ttft.entries()) sum.ttft[i] = (sum.ttft[i] ?? 0) + count;
  }
  return sum;
}

export function attemptsOf({ answers, failures }: VersionSeen): number {
  return answers + failures;
}

const timed = ({ ttft }: VersionSeen): number => ttft.reduce((sum, count) => sum + count, 0);
const percent = (share: number): string => `${Math.round(share * 1000) / 10} %`;
const failureRate = (seen: VersionSeen): number => (attemptsOf(seen) === 0 ? 0 : seen.failures / attemptsOf(seen));

/** The p95 of TTFT is what SLOs are written on; and the lower end of the bucket that it lies in. */
const percentile = 0.95;
function p95(seen: VersionSeen): { ms: number; lowerMs: number } | undefined {
  const ms = quantileMs(digestBoundsMs.ttft, seen.ttft, percentile);
  return ms === undefined ? undefined : { ms, lowerMs: digestBoundsMs.ttft.findLast((bound) => bound < ms) ?? 0 };
}

/** So many failures in a row open an isolate's breaker (`edge/forward/breaker.ts`): of a version that answers nothing it may see no more. */
const failuresMin = 3;

/**
 * Why a version is worse than the one before, in words; undefined when it is not, or when too little is known of it.
 *
 * Times are known by their bucket only: the new version's is taken for the lowest that it can be, so that two times of one bucket are
 * never told apart.
 *
 * @param last it is about to be given more: then a few failures are enough, for breakers keep requests from what is broken
 */
export function worse({ errorRateMax, latencyRatioMax, requestsMin }: Pick<RolloutPolicy, "errorRateMax" | "latencyRatioMax" | "requestsMin">, fresh: VersionSeen, old: VersionSeen, last = false): string | undefined {
  if ((attemptsOf(fresh) >= requestsMin || (last && fresh.failures >= failuresMin)) && failureRate(fresh) - failureRate(old) > errorRateMax) {
    return `${fresh.failures} of ${attemptsOf(fresh)} attempts on it failed (${percent(failureRate(fresh))}), and ${percent(failureRate(old))} on version ${old.version}`;
  }
  if (timed(fresh) < requestsMin || timed(old) < requestsMin) return undefined;
  const [now, then] = [p95(fresh), p95(old)];
  if (now === undefined || then === undefined || now.lowerMs <= latencyRatioMax * then.ms) return undefined;
  return `its first tokens take more than ${now.lowerMs} ms (p95), and ${Math.round(then.ms)} ms on version ${old.version}`;
}
