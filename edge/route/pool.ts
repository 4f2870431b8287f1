import type { ReplicaRow } from "./candidates.ts";
import { isFull, unusable } from "./filter.ts";
import { textHash } from "./prefix.ts";

/**
 * A view's usable replicas of one service in columns: read once when they arrive, so that a request walks over numbers only. NaN where a
 * replica does not say.
 */
export interface Pool {
  /** Those that may be used by what the snapshot says, in the order of their hashes: any stretch of them is a random sample. */
  readonly rows: readonly ReplicaRow[];
  /** Why each of the others may not. */
  readonly unusable: readonly { id: string; why: string }[];
  /** Where in `rows` each is. */
  readonly indexOf: ReadonlyMap<string, number>;
  /** Requests on it, running and queued. Where none says, what their agents carry to them. */
  readonly load: Float32Array;
  readonly queueDepth: Float32Array;
  /** 0..1. */
  readonly kvUsage: Float32Array;
  /** When the reading was taken: its host's last word (ms since the epoch, by its Hub's clock). */
  readonly readAt: Float64Array;
  /** 1: over its bounds by its own word. */
  readonly full: Uint8Array;
  /** The id as a number, for rendezvous hashing. */
  readonly hash: Int32Array;
  /** The newest snapshot's time. */
  readonly takenAt: number;
  /** The share of its usual traffic that each may take, 0..1; absent while all may take all. */
  readonly share?: Float32Array;
}

/** A host that has come back is given more and more over so long (facts/failures.md §2: a recovered primary, slow start 10 s). */
const slowStartMs = 10_000;
/** And so much from the first moment on, so that somebody finds out how it does. */
const shareMin = 0.1;

/**
 * What a host that was lost may take of its usual traffic, by its Hub's clock. It comes back empty, so that by load alone everything new
 * would go to it at once.
 */
export function shareOf({ backSince }: ReplicaRow["host"], takenAt: number): number {
  return backSince === undefined ? 1 : Math.min(1, Math.max(shareMin, (takenAt - backSince) / slowStartMs));
}

const pools = new WeakMap<readonly ReplicaRow[], Pool>();

function read(all: readonly ReplicaRow[]): Pool {
  const usable: ReplicaRow[] = [];
  const left: { id: string; why: string }[] = [];
  let newest = 0;
  for (const row of all) {
    newest = Math.max(newest, row.takenAt);
    const why = unusable(row);
    if (why === undefined) usable.push(row);
    else left.push({ id: row.replica.id, why });
  }
  const hashed = usable.map((row) => ({ row, hash: textHash(row.replica.id) })).sort((a, b) => a.hash - b.hash);
  const rows = hashed.map(({ row }) => row);
  const silent = rows.every(({ replica }) => replica.load === undefined);
  const load = Float32Array.from(rows, ({ replica }) => (silent ? replica.inFlight : replica.load === undefined ? Number.NaN : replica.load.running + replica.load.queueDepth));
  const queueDepth = Float32Array.from(rows, ({ replica }) => replica.load?.queueDepth ?? Number.NaN);
  const kvUsage = Float32Array.from(rows, ({ replica }) => replica.load?.kvUsage ?? Number.NaN);
  const share = rows.some(({ host, takenAt }) => shareOf(host, takenAt) < 1) ? { share: Float32Array.from(rows, ({ host, takenAt }) => shareOf(host, takenAt)) } : undefined;
  return {
    ...share,
    rows,
    unusable: left,
    indexOf: new Map(rows.map(({ replica }, i) => [replica.id, i])),
    load,
    queueDepth,
    kvUsage,
    readAt: Float64Array.from(rows, ({ host }) => host.heardAt),
    full: Uint8Array.from(rows, ({ replica }, i) => (isFull(load[i] as number, replica.load?.queueDepth ?? 0, replica.load?.kvUsage ?? 0) ? 1 : 0)),
    hash: Int32Array.from(hashed, ({ hash }) => hash),
    takenAt: newest,
  };
}

/** The columns of a list of rows, which must not be changed afterwards: they are read once a list. */
export function poolOf(rows: readonly ReplicaRow[]): Pool {
  const known = pools.get(rows);
  if (known !== undefined) return known;
  const pool = read(rows);
  pools.set(rows, pool);
  return pool;
}
