import type { Assign, AssignedReplica, ReplicaState } from "../schema/protocol.ts";
import { isOver } from "../schema/replica.ts";
import type { Now } from "../schema/clock.ts";
import type { Task } from "../schema/task.ts";

/** Names of files are made of ids: nothing a hub says may lead out of the agent's folders. */
const idPattern = /^[a-z0-9][a-z0-9._-]{0,159}$/;

/** What is to be done next about one replica. What a replica then does by itself (stop, restart) is `replica.ts`. */
export type Step =
  | { do: "start"; replica: AssignedReplica; task: Task }
  /** It cannot be run on this host: it is reported as failed with this reason. */
  | { do: "refuse"; replica: AssignedReplica; reason: string }
  /** Its service has a new version that runs the same processes. */
  | { do: "relabel"; id: string; version: number }
  | { do: "sleep" | "wake"; id: string }
  | { do: "drain"; id: string; reason: string }
  | { do: "forget"; id: string };

export type Actual = Pick<ReplicaState, "id" | "version" | "digest" | "phase" | "since"> & Partial<Pick<ReplicaState, "service">>;

/** Why a replica may not be started beside those that are alive; undefined when it may. */
export type Refuses = (replica: AssignedReplica, alive: readonly Pick<Actual, "service" | "digest">[]) => string | undefined;

export interface ReconcileOptions {
  /** The agent is leaving: nothing is started. */
  leaving?: boolean;
  /** Present: nothing may be run here, for this reason. */
  refusal?: string | undefined;
  /** What the host lets through. */
  refuses?: Refuses | undefined;
  /** Why all is drained that is not assigned, in words. */
  unwanted?: string | undefined;
  /** What is over and no longer assigned stays in the heartbeats for so long, in milliseconds, so that its hub hears of the end. */
  rememberMs?: number;
}

/**
 * The steps from what is to what should be. Doing them again changes nothing.
 *
 * A replica that is over stays over: its hub asks for another under a new id. Only another digest under the same id begins anew.
 */
export function reconcile(assign: Pick<Assign, "tasks" | "replicas">, actual: readonly Actual[], now: Now, { leaving = false, refusal, refuses, unwanted = "it is no longer assigned to this host", rememberMs = 60_000 }: ReconcileOptions = {}): Step[] {
  const steps: Step[] = [];
  const have = new Map(actual.map((replica) => [replica.id, replica]));
  const alive: Pick<Actual, "service" | "digest">[] = actual.filter(({ phase }) => !isOver(phase));
  const wanted = new Set<string>();
  for (const replica of assign.replicas) {
    if (wanted.has(replica.id) || !idPattern.test(replica.id)) continue;
    wanted.add(replica.id);
    const mine = have.get(replica.id);
    if (mine && mine.digest === replica.digest) {
      if (mine.version !== replica.version) steps.push({ do: "relabel", id: replica.id, version: replica.version });
      if (replica.sleeping === true && mine.phase === "ready") steps.push({ do: "sleep", id: replica.id });
      else if (replica.sleeping !== true && mine.phase === "sleeping") steps.push({ do: "wake", id: replica.id });
    } else if (mine && !isOver(mine.phase)) {
      steps.push({ do: "drain", id: replica.id, reason: "its service was updated" });
    } else if (!leaving) {
      const next = begin(replica, assign.tasks, refusal ?? refuses?.(replica, alive));
      if (next.do === "start") alive.push(replica);
      steps.push(next);
    }
  }
  for (const { id, phase, since } of actual) {
    if (wanted.has(id)) continue;
    if (!isOver(phase)) steps.push({ do: "drain", id, reason: unwanted });
    else if (now - since >= rememberMs) steps.push({ do: "forget", id });
  }
  return steps;
}

function begin(replica: AssignedReplica, tasks: readonly Task[], refusal: string | undefined): Step {
  if (refusal !== undefined) return { do: "refuse", replica, reason: refusal };
  const task = tasks.find(({ service, digest }) => service === replica.service && digest === replica.digest);
  if (!task) return { do: "refuse", replica, reason: `its hub sent no task for version ${replica.version} of ${replica.service}` };
  return { do: "start", replica, task };
}
