import type { Now } from "../../schema/clock.ts";
import { accounted, affordable, type Account } from "./account.ts";
import { stretched, type Stretch } from "./attainment.ts";
import { census, isAskedFor } from "./census.ts";
import type { Habit } from "./habit.ts";
import { capacityOf, learn, type Learned } from "./learned.ts";
import { need } from "./need.ts";
import { figure, type Opinion, type Question } from "./opinion.ts";
import { meanOf } from "./series.ts";

/** Knative's tick (facts/routing-and-scaling.md §4). */
const tickMs = 2_000;
/** Until a start was seen: a 7B model on one GPU comes up in 64 to 77 s where weights are near (facts/routing-and-scaling.md §7). */
export const coldStartMsDefault = 90_000;
/** What is removed must not be needed again before it could be there: as long as a start takes, at least Knative's stable window, at most Kubernetes' stabilisation window. */
const downMs = { min: 60_000, max: 300_000 };
/** The last replica stays so long after the last request (Kubernetes' stabilisation window). */
const idleMs = 300_000;
/** What was needed, and what was enough, from a time on. */
interface Said {
  at: Now;
  needed: number;
  enough: number;
}

export interface AdaptiveState {
  learned: Learned;
  stretch: Stretch;
  habit: Habit;
  /** Where people say what one replica does. */
  account?: Account;
  /** The latest numbers, each until the next. */
  said: Said[];
  /** When there were last fewer. */
  downAt?: Now;
  /** When it was last asked for. */
  askedAt?: Now;
}

/**
 * Fairlead's own: the most of
 *
 * - what the demand of this level would have needed: its arrivals replayed against fewer and fewer replicas, at the rate they are going to
 *   have when a replica that is started now is ready (`replay`, `trend`)
 * - what a surge needs, from its first seconds (`surge`)
 * - what is in service, where people say what one replica serves at once
 * - what waits, if it is to be gone by when one could have started, at full speed
 *
 * Where people say what one replica does, what is held for bursts is more or less than they are worth, by what SkyServe's autoscaler would
 * have held (`account`). Up at once; down to the most that was needed within a stabilisation window, which is as long as a cold start; to zero when nobody asks.
 */
export function adaptive(question: Question<AdaptiveState>): Opinion<AdaptiveState> {
  const { policy, signals, bounds, before, state, now } = question;
  const learned = learn(state?.learned, signals, now);
  const { ready, starting, failing } = census(signals.replicas);
  const stretch = stretchOf(question, learned, ready.length, starting.length);
  const capacity = capacityOf(policy, learned, stretch.by);
  const coldStartMs = signals.coldStartMs ?? coldStartMsDefault;

  // the first one was asked for, and is not taken back before it could serve: whoever was refused comes again
  const isComing = before > 0 && ready.length === 0 && starting.length > failing;
  const isAsked = isAskedFor(signals) || isComing;
  // what runs when nothing is remembered was asked for
  const askedAt = isAsked || (state === undefined && before > 0) ? now : state?.askedAt;
  const account = accounted(state?.account, question);
  const { habit, ...wanted } = need(question, state?.habit, capacity, coldStartMs, affordable(account));
  const isIdle = askedAt === undefined || now - askedAt >= Math.max(policy.downscaleDelayMs ?? idleMs, tickMs);
  const needed = isIdle ? 0 : Math.max(1, wanted.needed);
  const enough = isIdle ? 0 : Math.max(1, wanted.enough);

  const upMs = policy.upscaleDelayMs ?? 0;
  const keepMs = policy.downscaleDelayMs ?? Math.min(downMs.max, Math.max(downMs.min, coldStartMs));
  const said = remember(state?.said ?? [{ at: now - 1, needed: before, enough: before }], { at: now, needed, enough }, Math.max(upMs, keepMs));
  const over = (ms: number): Said[] => said.filter((_, i) => (said[i + 1]?.at ?? Infinity) > now - ms);
  const [ceiling, floor] = [Math.max(...over(keepMs).map((one) => one.enough)), Math.min(...over(upMs).map((one) => one.needed))];
  // from zero, and while nobody asks, there is nothing to wait for
  const agreed = isIdle ? 0 : before === 0 ? needed : Math.min(Math.max(before, floor), Math.max(ceiling, bounds.min));
  // one more so soon after one less is chance
  const isChance = agreed === before + 1 && before > 0 && state?.downAt !== undefined && now - state.downAt < keepMs;
  const settled = isChance ? before : agreed;
  const downAt = settled < before ? now : state?.downAt;
  const reason = isIdle ? (askedAt === undefined ? "nobody asks" : `nobody has asked for ${figure((now - askedAt) / 1000)} s`) : settled > enough ? `${wanted.why}: ${enough}, and ${ceiling} within ${figure(keepMs / 1000)} s` : wanted.why;
  return { needed: settled, reason, state: { learned, stretch, habit, said, ...(account === undefined ? {} : { account: { ...account, must: wanted.must } }), ...(downAt === undefined ? {} : { downAt }), ...(askedAt === undefined ? {} : { askedAt }) }, nextMs: tickMs };
}

function stretchOf({ policy, signals, state, now }: Question<AdaptiveState>, learned: Learned, ready: number, starting: number): Stretch {
  const plain = capacityOf(policy, learned, 1);
  const isBusy = ready > 1 && meanOf(signals.arrivals, 60) > 0.5 * plain.perS * ready;
  return stretched(state?.stretch, policy, signals, { isBusy, isSteady: ready > 0 && starting === 0 }, now);
}

/** The latest numbers with one more; those that held before the window are forgotten. */
function remember(said: readonly Said[], one: Said, windowMs: number): Said[] {
  const last = said.at(-1);
  const next = last?.needed === one.needed && last.enough === one.enough ? [...said] : [...said.filter(({ at }) => at < one.at), one];
  return next.filter((_, i) => (next[i + 1]?.at ?? Infinity) > one.at - windowMs);
}
