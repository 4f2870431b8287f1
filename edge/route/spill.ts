import type { RouteService } from "../../schema/bundle.ts";
import type { Random } from "../../schema/clock.ts";
import { ranks, type Decision } from "./route.ts";

/**
 * Whether a request goes to a provider only because no replica can take it: one was to have it, and none may be used or all are full.
 * Under `weighted` that is so for the replicas' share of such requests.
 */
export function spills(service: RouteService, { candidates, saturated }: Decision, random: Random): boolean {
  const [first] = candidates;
  const { selfHosted, replicas, providers, routing } = service;
  if (first?.kind !== "provider" || !selfHosted || replicas.fallback) return false;
  if (!saturated && candidates.some(({ kind }) => kind === "replica")) return false;
  if (routing.strategy === "availability_first") {
    const rank = ranks(service);
    return rank.own < (rank.providers[providers.findIndex(({ name }) => name === first.id)] ?? 0);
  }
  if (routing.strategy !== "weighted") return true;
  const others = providers.reduce((sum, { weight, fallback }) => (fallback ? sum : sum + weight), 0);
  return random() * (replicas.weight + others) < replicas.weight;
}
