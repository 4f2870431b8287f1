import { candidatesToldMax, type DecisionRecord, type Weighed } from "../schema/decision.ts";
import type { RouterEnv } from "./env.ts";
import type { Decision } from "./route/route.ts";
import { drainTold } from "./telemetry/telemetry.ts";
import { nearestHub } from "./view.ts";

/** Decisions and counts go out together, one call a second at most, however many requests there are. */
const batchMs = 1_000;
/** Kept between two calls; what comes when there are so many is not noted. */
const pendingMax = 200;
/** A request that was to send them and has not by now was ended before it could: the next one takes over. */
const lostMs = 5 * batchMs;

/** This isolate's decisions that its Hub has not been told. */
let pending: DecisionRecord[] = [];
/** Since when a request has been waiting to send them; 0 when none is. */
let waitingSince = 0;

/** What a decision says, in the form in which it is kept. */
export function weighed({ strategy, saturated, candidates, filtered, scores }: Decision): Weighed {
  return {
    strategy,
    saturated,
    candidates: candidates.slice(0, candidatesToldMax).map(({ id, upstream }) => {
      const score = scores.find((scored) => scored.id === id);
      return score === undefined ? { id, upstream } : { id, upstream, score: { total: score.total, parts: score.parts } };
    }),
    filtered,
  };
}

/**
 * Remember what became of a request, for `fairlead explain`. It costs the request nothing: what has come together is sent to the
 * nearest Hub behind some answer, and is lost when that fails.
 *
 * @example noteDecision(env, request, waitUntil, now, () => ({ requestId, at, service, model, account, ...weighed(decision), attempts, status, upstream, ms }))
 */
export function noteDecision(env: RouterEnv, request: Request, waitUntil: (work: Promise<unknown>) => void, now: number, record: () => DecisionRecord): void {
  if (pending.length < pendingMax) pending.push(record());
  tellSoon(env, request, waitUntil, now);
}

/** What this isolate has counted and decided is to be told to its Hub, with what comes within a second. */
export function tellSoon(env: RouterEnv, request: Request, waitUntil: (work: Promise<unknown>) => void, now: number): void {
  if (waitingSince > 0 && now - waitingSince < lostMs) return;
  waitingSince = now;
  waitUntil(sendSoon(env, request, now));
}

/** When the lack of a replica was last told, by service. */
const lackToldAt = new Map<string, number>();
/** Services in it at most: what is forgotten is told once more. */
const lacksMax = 1_000;

/**
 * A service has no replica that is ready, and a request for it: its Hub is told at once, with what was counted by now, because starting
 * one takes long enough. At most once a second a service, and behind the request.
 */
export function tellWanted(env: RouterEnv, request: Request, waitUntil: (work: Promise<unknown>) => void, service: string, now: number): void {
  const ageMs = now - (lackToldAt.get(service) ?? 0);
  if (ageMs >= 0 && ageMs < batchMs) return;
  if (lackToldAt.size >= lacksMax) lackToldAt.clear();
  lackToldAt.set(service, now);
  waitUntil(sendWanted(env, request, service, now));
}

async function sendWanted(env: RouterEnv, request: Request, service: string, now: number): Promise<void> {
  try {
    await nearestHub(env, request).wanted(service, drainTold(now));
  } catch (error) {
    console.warn(JSON.stringify({ message: "a lack of replicas was not told", service, error: String(error) }));
  }
}

async function sendSoon(env: RouterEnv, request: Request, since: number): Promise<void> {
  await scheduler.wait(batchMs);
  // another request took over, or a test forgot everything
  if (waitingSince !== since) return;
  const batch = pending;
  pending = [];
  waitingSince = 0;
  const told = drainTold(Date.now());
  if (batch.length === 0 && told === undefined) return;
  try {
    await nearestHub(env, request).record(batch, told);
  } catch (error) {
    // it may have heard all the same: what is told twice would be counted twice
    console.warn(JSON.stringify({ message: "decisions were not kept", decisions: batch.length, cells: told?.cells.length ?? 0, error: String(error) }));
  }
}

/** Forget everything: for tests that start from a cold isolate. */
export function forgetDecisions(): void {
  pending = [];
  waitingSince = 0;
  lackToldAt.clear();
}
