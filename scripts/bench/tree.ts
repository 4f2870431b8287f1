import { readdirSync, readFileSync } from "node:fs";

/** The fields of /proc/PID/stat behind the command name, which may itself hold spaces and brackets; field 3 of proc(5) is at index 0. */
export function statFields(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined; // It ended.
  }
}

/** The processes `pids` and everything below them. */
export function processTree(pids: number[]): number[] {
  const childrenOf = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const parent = Number(statFields(pid)?.[1]);
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), pid]);
  }
  const tree = [...pids];
  for (const pid of tree) tree.push(...(childrenOf.get(pid) ?? []));
  return [...new Set(tree)];
}
