import type { HostKind } from "../../schema/scale.ts";
import { isOfKind, type Where } from "./fit.ts";
import type { Held } from "./occupied.ts";

/** So many of a digest, wherever they may be. */
export interface Places extends Where {
  digest: string;
  count: number;
}

/**
 * Which replicas count for which target: each for the most specific one that its host satisfies and that has a place left, and as many
 * as there are places for. Those that come first are kept first: a later one never takes the place of an earlier one, which may only
 * move to another target.
 *
 * @returns by target the replicas that count for it, and the rest
 */
export function keep(targets: readonly Places[], replicas: readonly Held[], kindOf: (host: string) => HostKind): { kept: Held[][]; rest: Held[] } {
  const kept: Held[][] = targets.map(() => []);
  const rest: Held[] = [];
  const specific = ({ zone, spot }: Where): number => (zone === undefined ? 0 : 1) + (spot === undefined ? 0 : 1);
  const order = targets.map((_, i) => i).sort((a, b) => specific(targets[b] as Places) - specific(targets[a] as Places));

  /** Finds a place, if need be by moving others that have one elsewhere (an augmenting path). */
  const settle = (replica: Held, tried: Set<number>): boolean => {
    const own = order.filter((i) => targets[i]?.digest === replica.digest && isOfKind(kindOf(replica.host), targets[i]) && !tried.has(i));
    for (const i of own) {
      const there = kept[i] as Held[];
      if (there.length < (targets[i]?.count ?? 0)) {
        there.push(replica);
        return true;
      }
    }
    for (const i of own) {
      tried.add(i);
      const there = kept[i] as Held[];
      for (const [at, other] of there.entries()) {
        if (!settle(other, tried)) continue;
        there[at] = replica;
        return true;
      }
    }
    return false;
  };
  for (const replica of replicas) if (!settle(replica, new Set())) rest.push(replica);
  return { kept, rest };
}
