import { census } from "./census.ts";
import { settle, type Hysteresis } from "./hysteresis.ts";
import { within, type Opinion, type Question } from "./opinion.ts";

/** SkyServe's default of `queue_length_threshold`. */
const targetQueue = 1;

/**
 * SkyServe's `QueueLengthAutoscaler` of pools, with the same hysteresis: one more while more than `targetQueue` wait, one less while fewer do
 * and some are idle, and none at zero while anything waits. With nothing waiting as many are needed as are busy: it is idle ones that go.
 */
export function queueLength(question: Question<Hysteresis>): Opinion<Hysteresis> {
  const { policy, signals, bounds, before, state } = question;
  const { waiting } = signals;
  const limit = policy.targetQueue ?? targetQueue;
  const target = within(state?.target ?? before, bounds);
  const { ready } = census(signals.replicas);
  const busy = ready.filter(({ inFlight }) => inFlight > 0).length;
  const why = `${waiting} wait, ${busy} are busy; more are needed beyond ${limit}`;
  if (waiting === 0) return settle(question, Math.min(target, busy), why);
  if (waiting === limit && target > 0) return settle(question, target, why);
  return settle(question, Math.max(1, waiting < limit ? target - 1 : target + 1), why);
}
