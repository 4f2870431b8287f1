import { isAlive } from "../../schema/replica.ts";
import type { StatusReplica } from "../../schema/snapshot.ts";
import type { StatusAnswer } from "../routes/status.ts";

/** What an update is waiting for. */
export interface Goal {
  service: string;
  version: number;
  desired: number;
  /** The change restarts nothing: replicas of the version before count too. */
  anyVersion: boolean;
}

export interface Look {
  /** What is new since the look before. */
  lines: string[];
  /** What is being waited for. */
  waiting: string;
  outcome?: { kind: "ready" } | { kind: "failed"; replica: StatusReplica };
}

/** Looks at one status after the other, and tells what has changed and whether the goal is reached. Pure but for what it remembers. */
export function watchRollout({ service, version, desired, anyVersion }: Goal): (status: StatusAnswer) => Look {
  const said = new Map<string, string>();
  const news = (key: string, line: string): string[] => {
    if (said.get(key) === line) return [];
    said.set(key, line);
    return [line];
  };

  return ({ services, edge, unplaced }) => {
    const view = services.find(({ name }) => name === service);
    if (view === undefined) return { lines: [], waiting: `Waiting for service ${service}` };
    if (!view.selfHosted || desired === 0) return { lines: [], waiting: "", outcome: { kind: "ready" } };
    if (!edge.reachable) return { lines: news("edge", `the edge cannot be asked: ${edge.reason}`), waiting: "Waiting for the edge" };
    const ours = view.replicas.filter((replica) => anyVersion || replica.version === version);
    const lines = ours.flatMap((replica) => news(replica.id, `${replica.id} on ${replica.hostName}: ${replica.phase}${replica.reason === undefined ? "" : ` (${replica.reason})`}`));
    for (const lack of unplaced) if (lack.service === service) lines.push(...news(`unplaced ${lack.region}`, `${lack.count} replica${lack.count === 1 ? "" : "s"} without a place in ${lack.region}: ${lack.reason}`));
    const ready = ours.filter(({ phase }) => phase === "ready").length;
    const coming = ours.filter(({ phase }) => isAlive(phase) && phase !== "ready" && phase !== "draining" && phase !== "stopping").length;
    const failed = ours.filter(({ phase }) => phase === "failed").toSorted((a, b) => b.since - a.since)[0];
    const waiting = `Waiting for ${service}: ${ready} of ${desired} replicas ready`;
    if (ready >= desired) return { lines, waiting, outcome: { kind: "ready" } };
    // one that failed is not tried again, and keeps its place in the count
    if (failed !== undefined && ready + coming < desired) return { lines, waiting, outcome: { kind: "failed", replica: failed } };
    return { lines, waiting };
  };
}
