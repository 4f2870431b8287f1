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
  outcome?: { kind: "ready" } | { kind: "failed"; replica: StatusReplica | undefined; reason: string };
}

/** Looks at one status after the other, and tells what has changed and whether the goal is reached. Pure but for what it remembers. */
export function watchRollout({ service, version, desired, anyVersion }: Goal): (status: StatusAnswer) => Look {
  const said = new Map<string, string>();
  /** What was taken back is gone from the status: its last log is worth showing all the same. */
  let failedLast: StatusReplica | undefined;
  let wasAbsent = false;
  const failed = (reason: string): Look => ({ lines: [], waiting: "", outcome: { kind: "failed", replica: undefined, reason } });
  const news = (key: string, line: string): string[] => {
    if (said.get(key) === line) return [];
    said.set(key, line);
    return [line];
  };

  return ({ services, edge, unplaced }) => {
    const view = services.find(({ name }) => name === service);
    // a copy of the database may be a moment behind what was just written to it, and no longer
    const isGone = (view === undefined && wasAbsent) || view?.status === "SHUTTING_DOWN";
    wasAbsent = view === undefined;
    if (isGone) return failed(`${service} was taken down meanwhile`);
    if (view === undefined) return { lines: [], waiting: `Waiting for service ${service}` };
    if (view.version > version) return failed(`version ${view.version} has taken its place`);
    const { decidedFor } = view;
    if (!view.selfHosted || (desired === 0 && decidedFor === undefined)) return { lines: [], waiting: "", outcome: { kind: "ready" } };
    if (!edge.reachable) return { lines: news("edge", `the edge cannot be asked: ${edge.reason}`), waiting: "Waiting for the edge" };
    // what failed of an earlier version is old news, and says nothing of this one
    const ours = view.replicas.filter((replica) => replica.version === version || (anyVersion && replica.phase !== "failed"));
    const lines = ours.flatMap((replica) => news(replica.id, `${replica.id} on ${replica.hostName}: ${replica.phase}${replica.reason === undefined ? "" : ` (${replica.reason})`}`));
    for (const lack of unplaced) if (lack.service === service) lines.push(...news(`unplaced ${lack.region}`, `${lack.count} replica${lack.count === 1 ? "" : "s"} without a place in ${lack.region}: ${lack.reason}`));
    // what its Scaler has not seen, it has not decided about
    if (decidedFor !== undefined && decidedFor < version) return { lines, waiting: `Waiting for ${service}: its scaler looks at version ${version}` };
    const wanted = decidedFor === undefined ? desired : view.desired;
    if (wanted === 0) return { lines: [...lines, ...news("zero", "no replica is wanted now: the next request starts one")], waiting: "", outcome: { kind: "ready" } };
    failedLast = ours.filter(({ phase }) => phase === "failed").toSorted((a, b) => b.since - a.since)[0] ?? failedLast;
    const rollout = view.rollout?.version === version ? view.rollout : undefined;
    // its Scaler may look before the host has heard of the version: what it goes by then is the failure of the one before
    const isOld = rollout?.state === "stuck" && !ours.some(({ phase }) => phase === "failed") && view.replicas.some((replica) => replica.phase === "failed" && replica.version < version);
    if (isOld) return { lines, waiting: `Waiting for ${service}: its host looks at version ${version}` };
    if (rollout?.state === "rolled_back" || rollout?.state === "stuck") return { lines, waiting: "", outcome: { kind: "failed", replica: failedLast, reason: rollout.reason } };
    if (rollout !== undefined && rollout.mode !== "rolling") lines.push(...news("rollout", rollout.reason));
    if (rollout?.state === "progressing") return { lines, waiting: `Waiting for ${service}: ${rollout.reason}` };
    if (rollout !== undefined && !anyVersion) return { lines, waiting: "", outcome: { kind: "ready" } };
    const ready = ours.filter(({ phase }) => phase === "ready").length;
    const coming = ours.filter(({ phase }) => isAlive(phase) && phase !== "ready" && phase !== "draining" && phase !== "stopping").length;
    const last = ours.filter(({ phase }) => phase === "failed").toSorted((a, b) => b.since - a.since)[0];
    const waiting = `Waiting for ${service}: ${ready} of ${wanted} replicas ready`;
    if (ready >= wanted) return { lines, waiting, outcome: { kind: "ready" } };
    // one that failed is not tried again, and keeps its place in the count
    if (last !== undefined && ready + coming < wanted) return { lines, waiting, outcome: { kind: "failed", replica: last, reason: `${last.id} failed${last.reason === undefined ? "" : `: ${last.reason}`}` } };
    return { lines, waiting };
  };
}
