import { isAlive } from "../../schema/replica.ts";
import type { StatusAnswer } from "../routes/status.ts";

export interface DrainLook {
  /** What is new since the look before. */
  lines: string[];
  /** What is being waited for. */
  waiting: string;
  outcome?: { kind: "empty" } | { kind: "lost" };
}

/** Looks at one status after the other while a host is emptied: what takes over elsewhere, what ends here, what finds no place. Pure but for what it remembers. */
export function watchDrain(host: string): (status: StatusAnswer) => DrainLook {
  const said = new Map<string, string>();
  const affected = new Set<string>();
  const news = (key: string, line: string): string[] => {
    if (said.get(key) === line) return [];
    said.set(key, line);
    return [line];
  };

  return ({ services, hosts, edge, unplaced, bundleVersion }) => {
    const view = hosts.find(({ id }) => id === host);
    if (!edge.reachable || view === undefined) return { lines: edge.reachable ? [] : news("edge", `the edge cannot be asked: ${edge.reason}`), waiting: "Waiting for the edge" };
    if ((edge.bundleVersions[view.region] ?? 0) < bundleVersion) return { lines: [], waiting: `Waiting for ${view.region} to hear of it` };
    const replicas = services.flatMap((service) => service.replicas);
    const here = replicas.filter((replica) => replica.host === host && isAlive(replica.phase));
    for (const { service } of here) affected.add(service);
    const lines = replicas.filter(({ service }) => affected.has(service)).flatMap((replica) => {
      // what serves here goes on doing so, which is no news
      const isNews = replica.host !== host || replica.phase !== "ready";
      return isNews ? news(replica.id, `${replica.id} on ${replica.hostName}: ${replica.phase}${replica.reason === undefined ? "" : ` (${replica.reason})`}`) : [];
    });
    for (const { service, region, count, reason } of unplaced) {
      if (affected.has(service) && region === view.region) lines.push(...news(`unplaced ${service}`, `${count} replica${count === 1 ? "" : "s"} of ${service} without another place: ${reason}`));
    }
    const waiting = `Waiting for ${view.name}: ${here.length} replica${here.length === 1 ? "" : "s"} still there`;
    if (!view.linkUp) return { lines, waiting, outcome: { kind: "lost" } };
    return here.length === 0 ? { lines, waiting, outcome: { kind: "empty" } } : { lines, waiting };
  };
}
