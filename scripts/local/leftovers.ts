import { execFileSync } from "node:child_process";
import { setTimeout as wait } from "node:timers/promises";
import { forgetPid, readPids } from "./part.ts";

function command(pid: number): string {
  try {
    return execFileSync("ps", ["-o", "args=", "-p", String(pid)], { encoding: "utf8" }).trim();
  } catch {
    return "";
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** What a part's process looks like in the process table: a number that another program has got since is left alone. */
const looks: Record<string, RegExp> = { up: /scripts\/up\.ts/, workerd: /workerd serve/, control: /control\/server\.ts/, agent: /agent\/(index\.ts|fairlead-agent\.mjs)/ };

/**
 * End what a killed `scripts/up` has left running on this state folder.
 *
 * @throws Error when another `scripts/up` is running on it
 */
export async function endLeftovers(state: string): Promise<void> {
  const pids = readPids(state);
  if (pids["up"] !== undefined && pids["up"] !== process.pid && looks["up"]?.test(command(pids["up"]))) {
    throw new Error(`Cannot start: another scripts/up (process ${pids["up"]}) is running on ${state}`);
  }
  for (const [name, pid] of Object.entries(pids)) {
    if (name !== "up" && looks[name]?.test(command(pid))) {
      process.kill(pid, "SIGTERM");
      for (let i = 0; i < 60 && alive(pid); i++) await wait(50);
      if (alive(pid)) process.kill(pid, "SIGKILL");
    }
    forgetPid(state, name);
  }
}
