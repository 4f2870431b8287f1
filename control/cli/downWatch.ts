import type { StatusAnswer } from "../routes/status.ts";

export interface DownLook {
  /** Services that somebody has created again meanwhile, each told once. */
  again: string[];
  /** What is being waited for. */
  waiting: string;
  /** Replicas of the services taken down that are still ending; undefined while the edge cannot be asked. */
  left: number | undefined;
}

/** Looks at one status after the other until nothing is left of the services that were taken down. Pure but for what it remembers. */
export function watchDown(names: readonly string[]): (status: Pick<StatusAnswer, "services" | "edge">) => DownLook {
  const again = new Set<string>();
  return ({ services, edge }) => {
    const ours = services.filter(({ name }) => names.includes(name));
    const created = ours.filter(({ name, status }) => status !== "SHUTTING_DOWN" && !again.has(name)).map(({ name }) => name);
    for (const name of created) again.add(name);
    // of one that was created again nobody can say which replicas are those of before
    const left = ours.filter(({ name }) => !again.has(name)).reduce((sum, { replicas }) => sum + replicas.length, 0);
    if (!edge.reachable && again.size < names.length) return { again: created, waiting: `Waiting for the edge: ${edge.reason}`, left: undefined };
    return { again: created, waiting: `Waiting for ${left} replica${left === 1 ? "" : "s"} to end`, left };
  };
}
