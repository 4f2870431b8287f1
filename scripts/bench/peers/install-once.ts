import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { output } from "../children.ts";
import type { Installed, Skipped } from "./peer.ts";

/** All commands of one installation together may take this long, in ms. */
const timeoutMs = 10 * 60_000;

export interface InstallOptions {
  /** Folder of the cache for this version. It is taken as complete when it holds the file `installed`, and else begun anew. */
  folder: string;
  version: string;
  /** Files to write first, by name. */
  files?: Record<string, string>;
  commands: string[][];
  env?: Record<string, string>;
}

/** Runs the commands in `folder` unless an earlier run of the benchmark has done so. */
export async function installOnce({ folder, version, files = {}, commands, env }: InstallOptions): Promise<Installed | Skipped> {
  const mark = join(folder, "installed");
  if (existsSync(mark)) return { version };
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const deadline = Date.now() + timeoutMs;
  for (const command of commands) {
    process.stderr.write(`  installing: ${command.join(" ")}\n`);
    const { code, stdout, stderr, timedOut } = await output(command, { timeoutMs: deadline - Date.now(), cwd: folder, env });
    if (timedOut) return { skipped: `installing took more than ${timeoutMs / 60_000} minutes` };
    if (code !== 0) {
      const lines = (stderr.trim() || stdout.trim()).split("\n").filter(Boolean);
      return { skipped: `${command.slice(0, 3).join(" ")} … failed: ${lines.slice(-2).join(" ").trim().slice(-300)}` };
    }
  }
  writeFileSync(mark, `${version}\n`);
  return { version };
}
