import type { Now } from "../../schema/clock.ts";
import type { ScalePolicy } from "../../schema/policy.ts";
import { stretched, type Stretch } from "./attainment.ts";
import { blocks, blockS, levelBlocks, surge, trend } from "./burst.ts";
import { census, isAskedFor } from "./census.ts";
import { capacityOf, learn, type Learned } from "./learned.ts";
import { figure, type Opinion, type Question } from "./opinion.ts";
import { fewest, type Capacity } from "./replay.ts";
import { meanOf, sumOf } from "./series.ts";

/** Knative's tick (facts/routing-and-scaling.md §4). */
const tickMs = 2_000;
/** Until a start was seen: a 7B model on one GPU comes up in 64 to 77 s where weights are near (facts/routing-and-scaling.md §7). */
export const coldStartMsDefault = 90_000;
/** What is removed must not be needed again before it could be there: as long as a start takes, at least Knative's stable window, at most Kubernetes' stabilisation window. */
const downMs = { min: 60_000, max: 300_000 };
/** The last replica stays so long after the last request (Kubernetes' stabilisation window). */
const idleMs = 300_000;
/** Without an SLO: one more replica is worth it while it spares so many requests waiting at any time, in the mean. Fewer buys replicas for bursts; more spares them. */
const worth = 4;
/** A request waits for as much of its TTFT; the rest is reading its prompt. */
const waitShare = 0.5;

/** What was needed from a time on. */
interface Said {
  at: Now;
  needed: number;
}

export interface AdaptiveState {
  learned: Learned;
  stretch: Stretch;
  /** The latest numbers, each until the next. */
  said: Said[];
  /** When it was last asked for. */
  askedAt?: Now;
}

/**
 * Fairlead's own: the most of
 *
 * - what the demand of this level would have needed: its arrivals replayed against fewer and fewer replicas, at the rate they are going to
 *   have when a replica that is started now is ready (`replay`, `trend`)
 * - what a surge needs, from its first seconds (`surge`)
 * - what is in service, by what one replica serves at once
 * - what waits, if it is to be gone by when one could have started, at full speed
 *
 * Up at once; down to the most that was needed within a stabilisation window, which is as long as a cold start; to zero when nobody asks.
 */
export function adaptive(question: Question<AdaptiveState>): Opinion<AdaptiveState> {
  const { policy, signals, bounds, before, state, now } = question;
  const learned = learn(state?.learned, signals, now);
  const { ready, starting } = census(signals.replicas);
  const stretch = stretchOf(question, learned, ready.length, starting.length);
  const capacity = capacityOf(policy, learned, stretch.by);
  const coldStartMs = signals.coldStartMs ?? coldStartMsDefault;

  const isAsked = isAskedFor(signals);
  // what runs when nothing is remembered was asked for
  const askedAt = isAsked || (state === undefined && before > 0) ? now : state?.askedAt;
  const wanted = most(question, capacity, coldStartMs, learned);
  const isIdle = askedAt === undefined || now - askedAt >= Math.max(policy.downscaleDelayMs ?? idleMs, tickMs);
  const needed = isIdle ? 0 : Math.max(1, wanted.needed);

  const upMs = policy.upscaleDelayMs ?? 0;
  const keepMs = policy.downscaleDelayMs ?? Math.min(downMs.max, Math.max(downMs.min, coldStartMs));
  const said = remember(state?.said ?? [{ at: now - 1, needed: before }], needed, now, Math.max(upMs, keepMs));
  const over = (ms: number): number[] => said.filter((_, i) => (said[i + 1]?.at ?? Infinity) > now - ms).map((one) => one.needed);
  const [ceiling, floor] = [Math.max(...over(keepMs)), Math.min(...over(upMs))];
  // from zero, and while nobody asks, there is nothing to wait for
  const settled = isIdle ? 0 : before === 0 ? needed : Math.min(Math.max(before, floor), Math.max(ceiling, bounds.min));
  const reason = isIdle ? (askedAt === undefined ? "nobody asks" : `nobody has asked for ${figure((now - askedAt) / 1000)} s`) : settled > needed && settled <= before ? `${wanted.why}: ${needed}, and ${ceiling} within ${figure(keepMs / 1000)} s` : wanted.why;
  return { needed: settled, reason, state: { learned, stretch, said, ...(askedAt === undefined ? {} : { askedAt }) }, nextMs: tickMs };
}

function stretchOf({ policy, signals, state, now }: Question<AdaptiveState>, learned: Learned, ready: number, starting: number): Stretch {
  const plain = capacityOf(policy, learned, 1);
  const isBusy = ready > 1 && meanOf(signals.arrivals, 60) > 0.5 * plain.perS * ready;
  return stretched(state?.stretch, policy, signals, { isBusy, isSteady: ready > 0 && starting === 0 }, now);
}

/** How long requests may wait. */
function patience({ slo }: ScalePolicy): { slo?: { waitS: number; share: number } } {
  return slo?.ttftMs === undefined ? {} : { slo: { waitS: (waitShare * slo.ttftMs) / 1000, share: 1 - slo.percentile } };
}

/** What is needed by each measure; the most of them, and why. */
function most({ policy, signals, bounds }: Question<AdaptiveState>, capacity: Capacity, coldStartMs: number, learned: Learned): { needed: number; why: string } {
  const { arrivals, waiting } = signals;
  const each = `${figure(capacity.wellPerS)}/s and ${figure(capacity.slots)} at once each`;
  const counts = blocks(arrivals);
  const level = levelBlocks(counts);
  // until there is a block, by what there is
  const seconds = level === 0 ? arrivals.length : level * blockS;
  const { perS, error, slope } = level === 0 ? { perS: meanOf(arrivals), error: 0, slope: 0 } : trend(counts.slice(-level));
  const ahead = Math.max(0, perS + Math.max(0, slope) * (coldStartMs / 1000));
  const scaled = arrivals.slice(-seconds).map((count, i) => (slope === 0 ? count : count * Math.min(4, ahead / Math.max(1e-6, perS - slope * (seconds - i)))));
  const asked = { worth, ...patience(policy), from: Math.min(30, Math.floor(scaled.length / 4)), most: bounds.max };
  const surging = surge(arrivals);
  const overS = Math.max(coldStartMs / 1000, 30);
  const inService = Math.max(0, meanOf(signals.concurrency, 60) - waiting);

  const measures = [
    { needed: Math.max(fewest(scaled, capacity, asked), Math.ceil(Math.max(0, ahead - error) / capacity.wellPerS)), why: `${figure(sumOf(arrivals, seconds) / Math.max(1, seconds))} requests/s in ${seconds} s${slope > 0 ? `, ${figure(ahead)} by the time one could start` : ""}, ${each}` },
    ...(surging === undefined ? [] : [{ needed: Math.ceil(surging / capacity.wellPerS), why: `a surge of ${figure(surging)} requests/s, ${each}` }]),
    ...(policy.targetConcurrency === undefined && learned.slots === undefined ? [] : [{ needed: Math.ceil(inService / capacity.slots), why: `${figure(inService)} in service, ${each}` }]),
    ...(waiting + signals.refused === 0 ? [] : [{ needed: Math.ceil(((perS - error) * overS + waiting) / (capacity.perS * overS)), why: `${waiting} wait, ${signals.refused} were refused and ${signals.spilled} sent on, ${each}` }]),
  ];
  return measures.reduce((a, b) => (b.needed > a.needed ? b : a));
}

/** The latest numbers with one more; those that held before the window are forgotten. */
function remember(said: readonly Said[], needed: number, now: Now, windowMs: number): Said[] {
  const next = said.at(-1)?.needed === needed ? [...said] : [...said.filter(({ at }) => at < now), { at: now, needed }];
  return next.filter((_, i) => (next[i + 1]?.at ?? Infinity) > now - windowMs);
}
