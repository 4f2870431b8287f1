import { bucketOf, digestBoundsMs, endings, layout, versionsToldMax, type VersionTold } from "../../schema/telemetry.ts";
import { endingOf } from "./tally.ts";

/** Attempts that speak against the replica. Those that never reached it, or that it had no room for, do not; nor does a caller's mistake. */
const faults: ReadonlySet<string> = new Set(["lost", "timeout", "unable", "credential"]);
const failed = layout.endings + endings.indexOf("5xx");

/**
 * What one isolate saw of the versions of services that have several. Each attempt counts by itself: that another replica
 * answered in the end does not make it good.
 */
export class VersionCounts {
  readonly #rows = new Map<string, VersionTold>();

  #of(service: string, version: number): VersionTold | undefined {
    const key = `${service}\n${version}`;
    let row = this.#rows.get(key);
    if (row !== undefined || this.#rows.size >= versionsToldMax) return row;
    row = { service, version, answers: 0, failures: 0, ttft: Array.from({ length: digestBoundsMs.ttft.length + 1 }, () => 0) };
    this.#rows.set(key, row);
    return row;
  }

  /**
   * An attempt is over.
   *
   * @param ms to its first event; of what is no stream, to its answer
   * @param status of the answer, if it is known
   */
  tried(service: string, version: number, outcome: string, ms: number, status: number): void {
    const isFault = faults.has(outcome) || (outcome === "answer" && endingOf(status) === failed);
    if (!isFault && outcome !== "answer") return;
    const row = this.#of(service, version);
    if (row === undefined) return;
    if (isFault) row.failures++;
    else {
      row.answers++;
      const bucket = bucketOf(digestBoundsMs.ttft, ms);
      row.ttft[bucket] = (row.ttft[bucket] as number) + 1;
    }
  }

  /** What is to be told; the counts begin anew. */
  drain(): VersionTold[] {
    const told = [...this.#rows.values()];
    this.#rows.clear();
    return told;
  }
}
