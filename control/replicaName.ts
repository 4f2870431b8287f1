import { replicaId } from "../schema/ids.ts";
import { isRegion, type Region } from "../schema/region.ts";

/** A replica that people name: its id, or why the name names none. */
export type NamedReplica = { id: string } | { problem: string };

/**
 * Which replica of a service is meant by its id, by `region.number` or by its number alone.
 *
 * @param known the service's replicas, or undefined when the edge could not be asked: names that leave no doubt are taken then
 */
export function findReplica(service: string, name: string, known: readonly { id: string; number: number }[] | undefined, regions: readonly Region[]): NamedReplica {
  const short = name.startsWith(`${service}.`) ? name.slice(service.length + 1) : name;
  const match = /^(?:([a-z]+)\.)?(\d{1,9})$/.exec(short);
  if (match === null) return { problem: `a replica is named by its id, by region.number or by its number` };
  const [, region, digits] = match;
  const number = Number(digits);
  if (region !== undefined) {
    if (!isRegion(region)) return { problem: `"${region}" is no region` };
    const id = replicaId(service, region, number);
    return known === undefined || known.some((replica) => replica.id === id) ? { id } : { problem: "there is no such replica" };
  }
  const [first, second] = known?.filter((replica) => replica.number === number) ?? [];
  if (first !== undefined && second !== undefined) return { problem: `several regions have one: say ${first.id} or ${second.id}` };
  if (first !== undefined) return { id: first.id };
  const [only, another] = regions;
  if (known === undefined && only !== undefined && another === undefined) return { id: replicaId(service, only, number) };
  return { problem: known === undefined ? "the edge cannot be asked which region it is in: say region.number" : "there is no such replica" };
}
