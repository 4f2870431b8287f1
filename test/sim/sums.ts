import { bucketOf, digestBoundsMs } from "../../schema/telemetry.ts";
import type { Demand, VersionSeen } from "../../schema/scale.ts";

const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);
const ttftSize = digestBoundsMs.ttft.length + 1;
const itlSize = digestBoundsMs.itl.length + 1;

/** What an isolate has counted of one service since it told last, and how things stand with it now. */
export class Told {
  arrivals = 0;
  refused = 0;
  spilled = 0;
  readonly ttft = zeros(ttftSize);
  readonly itl = zeros(itlSize);
  held = 0;
  spilledInFlight = 0;
  readonly versions = new Map<number, VersionSeen>();

  first(ms: number): void {
    const at = bucketOf(digestBoundsMs.ttft, ms);
    this.ttft[at] = (this.ttft[at] ?? 0) + 1;
  }

  gap(ms: number): void {
    const at = bucketOf(digestBoundsMs.itl, ms);
    this.itl[at] = (this.itl[at] ?? 0) + 1;
  }

  answered(version: number, ttftMs: number | undefined): void {
    const seen = seenOf(this.versions, version);
    if (ttftMs === undefined) seen.failures++;
    else {
      seen.answers++;
      const at = bucketOf(digestBoundsMs.ttft, ttftMs);
      seen.ttft[at] = (seen.ttft[at] ?? 0) + 1;
    }
  }
}

function seenOf(versions: Map<number, VersionSeen>, version: number): VersionSeen {
  let seen = versions.get(version);
  if (seen === undefined) versions.set(version, (seen = { version, answers: 0, failures: 0, ttft: zeros(ttftSize) }));
  return seen;
}

const addTo = (sums: number[], more: readonly number[]): void => {
  for (const [i, count] of more.entries()) sums[i] = (sums[i] ?? 0) + count;
};

/** What a Hub was told of one service, since its waking. */
export class Sums {
  readonly #sum = new Told();
  readonly #now = new Map<string, { held: number; spilledInFlight: number }>();

  add(isolate: string, { arrivals, refused, spilled, ttft, itl, held, spilledInFlight, versions }: Told): void {
    this.#sum.arrivals += arrivals;
    this.#sum.refused += refused;
    this.#sum.spilled += spilled;
    addTo(this.#sum.ttft, ttft);
    addTo(this.#sum.itl, itl);
    this.#now.set(isolate, { held, spilledInFlight });
    for (const { version, answers, failures, ttft: took } of versions.values()) {
      const seen = seenOf(this.#sum.versions, version);
      seen.answers += answers;
      seen.failures += failures;
      addTo(seen.ttft, took);
    }
  }

  demand(): Demand {
    const { arrivals, refused, spilled, ttft, itl } = this.#sum;
    let held = 0;
    let spilledInFlight = 0;
    for (const now of this.#now.values()) {
      held += now.held;
      spilledInFlight += now.spilledInFlight;
    }
    return { arrivals, refused, spilled, ttft: [...ttft], itl: [...itl], held, spilledInFlight };
  }

  versions(): VersionSeen[] {
    return [...this.#sum.versions.values()].map((seen) => ({ ...seen, ttft: [...seen.ttft] }));
  }
}
