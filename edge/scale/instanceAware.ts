import { qpsOn } from "../../schema/accelerator.ts";
import { census } from "./census.ts";
import { settle, perSecond, qpsOf, stay, type Hysteresis } from "./hysteresis.ts";
import { figure, type Opinion, type Question } from "./opinion.ts";

/**
 * SkyServe's `InstanceAwareRequestRateAutoscaler` with the same hysteresis. What differs, by its defects' numbers in
 * facts/skyserve-compat.md §8:
 *
 * - 14: fewer are enough when those that are ready serve the rate, the strongest first, and only then those that start; SkyServe removes a
 *   ready strong one for a weak one that is not there yet
 * - 15: it wakes from zero: no capacity and some requests is a need
 * - 16: replicas that have ended, are being ended or whose host leaves are no capacity and are not counted
 */
export function instanceAware(question: Question<Hysteresis>): Opinion<Hysteresis> {
  const { policy, signals, bounds, before } = question;
  const targets = typeof policy.targetQps === "number" ? { any: policy.targetQps } : policy.targetQps;
  if (targets === undefined || Object.keys(targets).length === 0) {
    const { needed, why } = stay(bounds, before, "target_qps_per_replica names no accelerator");
    return settle(question, needed, why);
  }
  const qps = qpsOf(signals.arrivals);
  const { ready, starting } = census(signals.replicas);
  const strongest = (replicas: typeof ready): number[] => replicas.map(({ accelerator }) => qpsOn(targets, accelerator)).sort((a, b) => b - a);
  const each = [...strongest(ready), ...strongest(starting)];
  const capacity = each.reduce((sum, one) => sum + one, 0);
  const why = `${perSecond(qps)}, ${figure(capacity)} by ${each.length} replicas`;
  if (qps >= capacity) return settle(question, each.length + Math.ceil((qps - capacity) / Math.max(...Object.values(targets))), why);
  let served = 0;
  // as SkyServe: the first with which they serve more than the rate
  const enough = each.findIndex((one) => (served += one) > qps) + 1;
  return settle(question, qps === 0 ? 0 : enough, why);
}
