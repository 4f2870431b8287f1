import type { Random } from "../../schema/clock.ts";
import type { ReplicaRow } from "./candidates.ts";
import type { Field } from "./field.ts";
import { unusable } from "./filter.ts";
import { none } from "./pick.ts";
import { poolOf } from "./pool.ts";
import { mix, textHash } from "./prefix.ts";
import type { RequestFacts } from "./request.ts";

/** Requests by version, 0..1, in sum 1 (`ServiceScale`). */
export type Shares = Readonly<Record<string, number>>;

/** A view's replicas of one service by version; worked out once a list. */
export interface Split {
  /** Of versions that have a share. */
  readonly rows: readonly ReplicaRow[];
  /** The others, and why. */
  readonly left: readonly { id: string; why: string }[];
  /** The newest first, each with the share of those up to it: as a version's share grows, the sessions that it has stay with it. */
  readonly versions: readonly { upTo: number }[];
  /** Of each of the pool's rows, its version's place among `versions`. */
  readonly of: Uint8Array;
  /** And the other way round. */
  readonly rowsOf: readonly (readonly number[])[];
}

const splits = new WeakMap<readonly ReplicaRow[], { shares: Shares; split: Split | undefined }>();

/** The versions among which requests are shared; undefined when none of them has a replica that may be used: then all take part. */
export function splitOf(all: readonly ReplicaRow[], shares: Shares): Split | undefined {
  const known = splits.get(all);
  if (known?.shares === shares) return known.split;
  const split = read(all, shares);
  splits.set(all, { shares, split });
  return split;
}

function read(all: readonly ReplicaRow[], shares: Shares): Split | undefined {
  const named = Object.entries(shares).filter(([, share]) => share > 0).map(([version, share]) => ({ version: Number(version), share })).sort((a, b) => b.version - a.version);
  const place = new Map(named.map(({ version }, i) => [version, i]));
  const rows = all.filter(({ replica }) => place.has(replica.version));
  const pool = poolOf(rows);
  if (pool.rows.length === 0) return undefined;
  let upTo = 0;
  const versions = named.map(({ share }) => ({ upTo: (upTo += share) }));
  const of = Uint8Array.from(pool.rows, ({ replica }) => place.get(replica.version) ?? 0);
  const rowsOf: number[][] = named.map(() => []);
  for (const [row, version] of of.entries()) rowsOf[version]?.push(row);
  const left = all.flatMap((row) => (place.has(row.replica.version) ? [] : [{ id: row.replica.id, why: unusable(row) ?? `version ${row.replica.version} takes no part` }]));
  return { rows, left, versions, of, rowsOf };
}

const versionsByRows = new WeakMap<readonly ReplicaRow[], ReadonlyMap<string, number>>();

/** The version of each replica; worked out once a list. */
export function versionsIn(rows: readonly ReplicaRow[]): ReadonlyMap<string, number> {
  let versions = versionsByRows.get(rows);
  if (versions === undefined) versionsByRows.set(rows, (versions = new Map(rows.map(({ replica }) => [replica.id, replica.version]))));
  return versions;
}

const mixedByRows = new WeakMap<readonly ReplicaRow[], boolean>();

/** Whether replicas of more than one version are ready; worked out once a list. */
export function isMixed(rows: readonly ReplicaRow[]): boolean {
  let mixed = mixedByRows.get(rows);
  if (mixed === undefined) {
    const first = rows.find(({ replica }) => replica.phase === "ready")?.replica.version;
    mixedByRows.set(rows, (mixed = rows.some(({ replica: { phase, version } }) => phase === "ready" && version !== first)));
  }
  return mixed;
}

/** 2^32: what a hash is less than. */
const hashes = 0x1_0000_0000;
/** Which version has a session is not which replica has it. */
const salt = 0x5f3759df;

/** The version that a request is of, as its place among `versions`: by chance, or always the same one for a session. */
export function drawVersion({ versions }: Split, request: RequestFacts | undefined, random: Random): number {
  if (versions.length === 1) return 0;
  const session = request?.session;
  const at = session === undefined ? random() : (mix(textHash(session, textHash((request as RequestFacts).account)), salt) >>> 0) / hashes;
  const drawn = versions.findIndex(({ upTo }) => at < upTo);
  return drawn < 0 ? versions.length - 1 : drawn;
}

/** Of a fleet of which only a sample is weighed, so many of the drawn version are weighed besides: a canary may be one in thousands. */
export const drawnMax = 32;

/** Enter rows of the drawn version, from one at random on. */
export function enterDrawn(field: Field, { rowsOf }: Split, drawn: number, random: Random): void {
  const rows = rowsOf[drawn] ?? [];
  const from = Math.min(rows.length - 1, Math.floor(random() * rows.length));
  for (let i = 0; i < Math.min(drawnMax, rows.length); i++) {
    const row = rows[(from + i) % rows.length] as number;
    if (field.placeOf(row) < 0) field.add(row);
  }
}

/** Only the drawn version competes; where none of it can, all do. */
export function leaveDrawn({ replicas, competes, source }: Field, { of }: Split, drawn: number): void {
  let some = false;
  for (let i = 0; i < replicas && !some; i++) some = competes[i] === 1 && of[source[i] as number] === drawn;
  if (!some) return;
  for (let i = 0; i < replicas; i++) if (of[source[i] as number] !== drawn) competes[i] = 0;
}

/**
 * Move the totals of all but the oldest version, the one that is known to be good: by -1 it comes before them as a fallback, whichever version
 * was drawn, so that a request's few attempts are not all spent on a version that is broken.
 */
export function moveNewer({ replicas, total, source }: Field, { of, versions }: Split, by: number): void {
  for (let i = 0; i < replicas; i++) if (of[source[i] as number] !== versions.length - 1) total[i] = (total[i] as number) + by;
}

/** The best of the drawn version that is not over its bounds; `none` without one. */
export function bestDrawn({ replicas, total, full, source }: Field, { of }: Split, drawn: number): number {
  let best = none;
  for (let i = 0; i < replicas; i++) if (full[i] === 0 && of[source[i] as number] === drawn && (best === none || (total[i] as number) > (total[best] as number))) best = i;
  return best;
}
