import { readdir, readFile } from "node:fs/promises";

/** What marks a process as a replica's: set in the environment of all that an agent starts, and inherited. */
export interface Mark {
  /** The agent's state folder. */
  state: string;
  /** The replica; absent: any of the agent's. */
  replica?: string;
}

/** Files of /proc that are open at a time. */
const readAtOnce = 64;

/**
 * The processes that carry a mark, those that left their process group (setsid, daemons) included, and what is in a session with
 * one of them: a session is begun by what carries the mark, and a process may write over its environment, as those
 * of vLLM and SGLang that compute do with their new names. Linux only; elsewhere none is found, and the process group is all that is known.
 */
export async function findMarked({ state, replica }: Mark): Promise<number[]> {
  if (process.platform !== "linux") return [];
  const stateEntry = asRead(`FAIRLEAD_STATE=${state}`);
  const replicaEntry = replica === undefined ? undefined : asRead(`FAIRLEAD_REPLICA=${replica}`);
  const found = new Set<number>();
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => pid !== process.pid);
  const each = async (look: (pid: number) => Promise<void>): Promise<void> => {
    for (let at = 0; at < pids.length; at += readAtOnce) await Promise.all(pids.slice(at, at + readAtOnce).map(look));
  };
  await each(async (pid) => {
    // unreadable: another user's, or gone in the meantime
    const entries = (await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "")).split("\0");
    if (!entries.includes(stateEntry)) return;
    if (entries.some((entry) => (replicaEntry === undefined ? entry.startsWith("FAIRLEAD_REPLICA=") : entry === replicaEntry))) found.add(pid);
  });
  if (found.size === 0) return [];
  const sessions = new Set((await Promise.all([...found].map(standing))).map((one) => one?.session));
  for (const session of sessions) {
    // 0 is every session of another namespace; and one whose first process is there and carries no mark was begun by somebody else
    if (session === undefined || session === 0 || (!found.has(session) && (await standing(session))?.lives === true)) sessions.delete(session);
  }
  await each(async (pid) => {
    const one = found.has(pid) ? undefined : await standing(pid);
    if (one?.lives === true && sessions.has(one.session)) found.add(pid);
  });
  return [...found];
}

/** Where a process stands among the others; undefined when it is gone. */
async function standing(pid: number): Promise<{ lives: boolean; group: number; session: number } | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "");
  // the name before it may hold anything
  const [state, , group, session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return group === undefined ? undefined : { lives: state !== "Z" && state !== "X", group: Number(group), session: Number(session) };
}

/** Bytes compare as bytes, whatever encoding the environment is in. */
function asRead(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** The members of a process group that are no zombies: a zombie needs its parent, not us. Linux only. */
export async function groupMembers(group: number): Promise<number[]> {
  const members: number[] = [];
  for (const name of await readdir("/proc")) {
    const one = /^\d+$/.test(name) ? await standing(Number(name)) : undefined;
    if (one?.lives === true && one.group === group) members.push(Number(name));
  }
  return members;
}

/** Sends a signal; false when there is nobody to get it. A negative pid is a process group. */
export function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    // EPERM: somebody is there
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

export interface EndOptions {
  /** The process group, where there is one. */
  group?: number | undefined;
  mark: Mark;
  /** From SIGTERM to SIGKILL; 0: SIGKILL at once. */
  graceMs: number;
  /** After SIGKILL, before it is given up. */
  giveUpMs?: number;
}

/**
 * Ends a process group and whatever left it: SIGTERM, a wait, SIGKILL. Resolves with the processes that would not end.
 */
export async function endAll({ group, mark, graceMs, giveUpMs = 5_000 }: EndOptions): Promise<number[]> {
  const groupLives = (): boolean => group !== undefined && signal(-group, 0);
  const sendAll = async (name: NodeJS.Signals): Promise<void> => {
    if (group !== undefined) signal(-group, name);
    for (const pid of await findMarked(mark)) signal(pid, name);
  };
  const start = performance.now();
  if (graceMs > 0) {
    await sendAll("SIGTERM");
    while (performance.now() - start < graceMs) {
      if (!groupLives() && (await findMarked(mark)).length === 0) return [];
      await pause(50);
    }
  }
  const killStart = performance.now();
  for (;;) {
    await sendAll("SIGKILL");
    const left = [...new Set([...(await findMarked(mark)), ...(groupLives() ? await liveMembers(group ?? 0) : [])])];
    if (left.length === 0 || performance.now() - killStart > giveUpMs) return left;
    await pause(20);
  }
}

async function liveMembers(group: number): Promise<number[]> {
  return process.platform === "linux" ? groupMembers(group) : [group];
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
