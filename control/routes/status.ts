import { Hono } from "hono";
import type { Context } from "../context.ts";
import { bundleVersion } from "../queries/bundle.ts";
import { listHosts } from "../queries/hosts.ts";
import { listServices, noteReady } from "../queries/services.ts";
import { compileStatus, type EdgeStatus, type HostView, type ServiceView } from "../status.ts";

/** The edge is given so long: status answers within a second, whatever the fleet is doing. */
export const edgeWaitMs = 800;

export interface StatusAnswer {
  /** ms since the epoch. */
  takenAt: number;
  /** Where clients send requests. */
  endpoint: string;
  /** The number of the configuration here, and of the one that each region's hub has. */
  bundleVersion: number;
  edge: { reachable: true; bundleVersions: Record<string, number> } | { reachable: false; reason: string };
  services: ServiceView[];
  hosts: HostView[];
  unplaced: { service: string; region: string; count: number; reason: string }[];
  /** Regions where nothing is moved although hosts are lost, and why. */
  braked?: { region: string; reason: string }[];
}

export function statusRoutes({ db, edge, clock, publicUrl, log }: Context): Hono {
  const routes = new Hono();
  routes.get("/", async (c) => {
    const wanted = c.req.query("services")?.split(",").map((name) => name.trim()).filter((name) => name !== "");
    const [asked, services, hosts, version] = await Promise.all([askEdge(edge), listServices(db.rows), listHosts(db.rows), bundleVersion(db.rows)]);
    const now = clock.now();
    const views = compileStatus({ services, hosts, edge: asked, publicUrl, now });
    const regions = asked.reachable ? asked.regions : [];
    const began = views.services.flatMap(({ name, readySince }) => (readySince !== undefined && services.some((row) => row.name === name && row.readySince === null) ? [{ name, since: readySince }] : []));
    // behind the answer: what cannot be kept now is seen again the next time
    if (began.length > 0) void db.transact((rows) => noteReady(rows, began)).catch((error: Error) => log(`Cannot keep since when ${began.map(({ name }) => name).join(", ")} answers: ${error.message}`));
    return c.json({
      takenAt: now,
      endpoint: `${publicUrl}/v1`,
      bundleVersion: version,
      edge: asked.reachable ? { reachable: true, bundleVersions: Object.fromEntries(regions.map((region) => [region.region, region.bundleVersion])) } : asked,
      services: wanted === undefined || wanted.length === 0 ? views.services : views.services.filter(({ name }) => wanted.includes(name)),
      hosts: views.hosts,
      unplaced: regions.flatMap((region) => region.unplaced.map((lack) => ({ ...lack, region: region.region }))),
      braked: regions.flatMap(({ region, braked }) => (braked === undefined ? [] : [{ region, reason: braked }])),
    } satisfies StatusAnswer);
  });
  return routes;
}

/** What the edge says within the time, or why it says nothing. */
export async function askEdge(edge: Context["edge"]): Promise<EdgeStatus> {
  return edge.status(edgeWaitMs).then(
    (regions): EdgeStatus => ({ reachable: true, regions }),
    (error: Error): EdgeStatus => ({ reachable: false, reason: error.message }),
  );
}
