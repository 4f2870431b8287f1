import { attemptOutcomes, bucketOf, cellSize, cellsMax, digestBoundsMs, lacks, layout, resumeWays, tallies, type Cell, type Digest, type Lack } from "../../schema/telemetry.ts";

/** Where an attempt of each outcome is counted. */
const attemptAt = new Map<string, number>(attemptOutcomes.map((outcome, i) => [outcome, layout.attempts + i]));
const resumeAt = new Map<string, number>(resumeWays.map((way, i) => [way, layout.resumes + i]));
const tallyAt = Object.fromEntries(tallies.map((tally, i) => [tally, layout.tallies + i])) as Record<(typeof tallies)[number], number>;

/** Places of the endings (`endings`): by name, so that a status costs two comparisons. */
export const endedAt = { ok: layout.endings, redirect: layout.endings + 1, refused: layout.endings + 2, limited: layout.endings + 3, failed: layout.endings + 4, broken: layout.endings + 5, left: layout.endings + 6 } as const;

/** The place of a status in `counts`. */
export function endingOf(status: number): number {
  if (status < 300) return endedAt.ok;
  if (status < 400) return endedAt.redirect;
  if (status === 429) return endedAt.limited;
  return status < 500 ? endedAt.refused : endedAt.failed;
}

/** Integers of one service through one upstream; a request only adds to them. */
export class Counts {
  readonly at = new Uint32Array(cellSize);
  /** Whether anything was added since they were told. */
  touched = false;

  ended(place: number): void {
    this.touched = true;
    this.at[place] = (this.at[place] as number) + 1;
  }

  add(tally: (typeof tallies)[number], count: number): void {
    this.touched = true;
    const place = tallyAt[tally];
    this.at[place] = (this.at[place] as number) + count;
  }

  lack(lack: Lack): void {
    this.ended(layout.lacks + lacks.indexOf(lack));
  }

  attempt(outcome: string): void {
    const place = attemptAt.get(outcome);
    if (place !== undefined) this.ended(place);
  }

  resume(way: string, times = 1): void {
    const place = resumeAt.get(way);
    if (place === undefined || times === 0) return;
    this.touched = true;
    this.at[place] = (this.at[place] as number) + times;
  }

  took(digest: Digest, ms: number): void {
    this.touched = true;
    const from = layout[digest];
    const time = ms > 0 ? ms : 0;
    this.at[from] = (this.at[from] as number) + Math.round(time);
    const bucket = from + 1 + bucketOf(digestBoundsMs[digest], time);
    this.at[bucket] = (this.at[bucket] as number) + 1;
  }

  /** The time to the first token of a request that had waited for a first replica, which `took` counts too. */
  tookHeld(ms: number): void {
    this.ended(layout.heldTtft + bucketOf(digestBoundsMs.ttft, ms));
  }
}

/** What one isolate has seen and not told, by service and upstream. Bounded: services and upstreams are those of the bundle. */
export class Tally {
  readonly #max: number;
  readonly #services = new Map<string, Map<string, Counts>>();
  #size = 0;
  /** Raised when counts were told: whoever holds some asks for them again then. */
  generation = 0;
  /** Where everything beyond the bound goes, which is not told. */
  readonly #rest = new Counts();

  constructor(max: number = cellsMax.told) {
    this.#max = max;
  }

  of(service: string, upstream: string): Counts {
    let upstreams = this.#services.get(service);
    let counts = upstreams?.get(upstream);
    if (counts !== undefined) return counts;
    if (this.#size >= this.#max) return this.#rest;
    this.#size++;
    counts = new Counts();
    if (upstreams === undefined) this.#services.set(service, (upstreams = new Map()));
    upstreams.set(upstream, counts);
    return counts;
  }

  /** What is to be told; the counts begin anew. Cells without any are forgotten: their service may have gone. */
  drain(): Cell[] {
    this.generation++;
    const cells: Cell[] = [];
    for (const [service, upstreams] of this.#services) {
      for (const [upstream, counts] of upstreams) {
        if (counts.touched) {
          cells.push({ service, upstream, counts: counts.at.slice() });
          counts.at.fill(0);
          counts.touched = false;
        } else {
          upstreams.delete(upstream);
          this.#size--;
        }
      }
      if (upstreams.size === 0) this.#services.delete(service);
    }
    return cells;
  }
}
