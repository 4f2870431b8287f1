import type { Now } from "../../schema/clock.ts";
import { decisionMs, downscaleDelayMs, type Hysteresis } from "./hysteresis.ts";
import { within, type Question } from "./opinion.ts";
import { requestRate } from "./requestRate.ts";

/**
 * What was held too much, or too little, is evened out over so long: beside what chance makes SkyServe hold for twenty minutes and more it
 * is slow, so that its luck is not followed but its mean is. As long as habits are followed at most (`habit.ts`); half of it attained less
 * at as many hours, on seeds 1 to 60 of a model of `scripts/bench/scale`.
 */
const horizonS = 14_400;

/** Held beside what SkyServe's request-rate autoscaler would have held; JSON-able. */
export interface Account {
  at: Now;
  /** SkyServe's own memory, and when it would decide again. */
  shadow: Hysteresis;
  nextAt: Now;
  /** How many fewer replicas than SkyServe's were held, times seconds; below 0: how many more than it, and than had to be. */
  credit: number;
  /** How many there had to be by the last look, whatever SkyServe says. */
  must: number;
}

/**
 * The account up to now. Of what was held counts what is more than SkyServe's and more than had to be; neither side grows beyond what
 * SkyServe holds in that time.
 *
 * @returns undefined where people do not say what one replica does: SkyServe has no number then
 */
export function accounted(account: Account | undefined, question: Question<unknown>): Account | undefined {
  const { policy, bounds, before: held, isNew, now } = question;
  if (typeof policy.targetQps !== "number") return undefined;
  // so long nobody looks only while nobody asks: SkyServe would have let go by then
  const sleptMs = policy.downscaleDelayMs ?? downscaleDelayMs;
  const isAwake = account !== undefined && now - account.at <= Math.max(sleptMs, decisionMs);
  const isDue = account === undefined || isNew || now >= account.nextAt;
  const said = isDue ? requestRate({ ...question, state: isAwake ? account.shadow : undefined }) : undefined;
  const shadow = said?.state ?? (account as Account).shadow;
  const nextAt = said === undefined ? (account as Account).nextAt : now + said.nextMs;
  if (account === undefined) return { at: now, shadow, nextAt, credit: 0, must: 0 };
  const passedS = Math.max(0, isAwake ? now - account.at : sleptMs) / 1000;
  const due = within(Math.max(account.shadow.target, account.must), bounds);
  const most = horizonS * Math.max(1, shadow.target);
  return { at: now, shadow, nextAt, credit: Math.min(most, Math.max(-most, account.credit + (due - held) * passedS)), must: account.must };
}

/** How many replicas more, or fewer, may be held for what only may be needed, so that the account is even in the end. */
export function affordable(account: Account | undefined): number {
  return account === undefined ? 0 : account.credit / horizonS;
}
