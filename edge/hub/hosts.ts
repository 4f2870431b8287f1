import type { Bundle, FleetHost } from "../../schema/bundle.ts";

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
