import type { Bundle, FleetHost } from "../../schema/bundle.ts";
import type { Region } from "../../schema/region.ts";

const byBundle = new WeakMap<Bundle, ReadonlyMap<string, FleetHost>>();

/** A bundle's hosts by id: made once a bundle. */
export function hostsOf(bundle: Bundle): ReadonlyMap<string, FleetHost> {
  let hosts = byBundle.get(bundle);
  if (hosts === undefined) {
    hosts = new Map(bundle.fleet.hosts.map((host) => [host.id, host]));
    byBundle.set(bundle, hosts);
  }
  return hosts;
}

const counts = new WeakMap<Bundle, number>();

/** How many hosts are enrolled in a Hub's own region, connected or not: what a welcome says of the fleet must not depend on who came first. */
export function enrolledIn(bundle: Bundle, region: Region): number {
  let count = counts.get(bundle);
  if (count === undefined) counts.set(bundle, (count = bundle.fleet.hosts.filter((host) => host.region === region && !host.revoked).length));
  return count;
}
