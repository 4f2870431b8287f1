import { settle, perSecond, qpsOf, stay, type Hysteresis } from "./hysteresis.ts";
import { figure, type Opinion, type Question } from "./opinion.ts";

/**
 * SkyServe's `RequestRateAutoscaler`: so many replicas that each gets no more than `targetQps` of the last minute's requests/s, with its
 * hysteresis. Requests count whatever became of them.
 */
export function requestRate(question: Question<Hysteresis>): Opinion<Hysteresis> {
  const { policy, signals, bounds, before } = question;
  if (typeof policy.targetQps !== "number") {
    const { needed, why } = stay(bounds, before, "target_qps_per_replica is not a number");
    return settle(question, needed, why);
  }
  const qps = qpsOf(signals.arrivals);
  return settle(question, Math.ceil(qps / policy.targetQps), `${perSecond(qps)}, ${figure(policy.targetQps)} each`);
}
