import { readFile, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { ConfigError } from "./config.ts";

/** Whose files these are, for a test. */
export interface Owner {
  uid: number | undefined;
}

/**
 * A file of the host's owner: what it says decides what may run here, so nobody but root and this agent's user may be able to change
 * it, or to put another in its place: neither it nor a folder above it may be writable by others (as sshd's StrictModes asks). A
 * folder with the sticky bit, as /tmp, is good enough: others cannot rename what is not theirs.
 *
 * @throws ConfigError that names the file or folder at fault
 */
export async function readOwned(file: string, { uid }: Owner = { uid: process.getuid?.() }): Promise<string> {
  try {
    const real = await realpath(file);
    if (uid !== undefined) await checkOwned(real, uid);
    return await readFile(real, "utf8");
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`Cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const sticky = 0o1000;

async function checkOwned(real: string, uid: number): Promise<void> {
  for (let path = real; ; path = dirname(path)) {
    const found = await stat(path);
    const mayShare = path !== real && (found.mode & sticky) !== 0;
    if (found.uid !== 0 && found.uid !== uid) throw new ConfigError(`Cannot use ${real}: ${path === real ? "it" : path} belongs to user ${found.uid}, who could change it; chown it to root`);
    if ((found.mode & 0o022) !== 0 && !mayShare) throw new ConfigError(`Cannot use ${real}: ${path === real ? "it" : path} can be written by others than its owner; run chmod go-w ${path}`);
    if (path === dirname(path)) return;
  }
}
