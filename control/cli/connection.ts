import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { Failure } from "./failure.ts";

export interface Connection {
  /** Control's URL, without a slash at its end. */
  control: string;
  adminKey: string;
}

interface Written {
  file: string;
  control?: string;
  adminKey?: string;
}

export interface Surroundings {
  environment: Readonly<Record<string, string | undefined>>;
  cwd: string;
  home: string;
}

/**
 * Where control is and what opens it: `--control` or FAIRLEAD_CONTROL_URL, and FAIRLEAD_ADMIN_KEY; then what `.fairlead/up.json`, here
 * or in a folder above, says; then `~/.config/fairlead/config.json`. A key from a file goes only to the control that the file names.
 *
 * @throws Failure that says how to give what is missing
 */
export async function findConnection(given: string | undefined, { environment, cwd, home }: Surroundings = { environment: process.env, cwd: process.cwd(), home: homedir() }): Promise<Connection> {
  const files = [...upward(cwd).map((folder) => join(folder, ".fairlead", "up.json")), join(home, ".config", "fairlead", "config.json")];
  const written = (await Promise.all(files.map(readWritten))).filter((found) => found !== undefined);
  const control = trimmed(given ?? environment["FAIRLEAD_CONTROL_URL"] ?? written.find((found) => found.control !== undefined)?.control);
  if (control === undefined) throw new Failure("Cannot find control: give --control URL or FAIRLEAD_CONTROL_URL, or run scripts/up in this folder");
  const url = URL.parse(control);
  if (url === null || !/^https?:$/.test(url.protocol)) throw new Failure(`Cannot use control "${control}": it is not an http:// or https:// URL`, 2);
  if (url.search !== "" || url.hash !== "") throw new Failure(`Cannot use control "${control}": leave out what begins with ? or #`, 2);
  const adminKey = environment["FAIRLEAD_ADMIN_KEY"]?.trim() ?? written.find((found) => found.adminKey !== undefined && trimmed(found.control) === control)?.adminKey;
  if (adminKey === undefined || adminKey === "") throw new Failure(`Cannot use control at ${control}: no admin key; set FAIRLEAD_ADMIN_KEY, or write {"control", "adminKey"} to ~/.config/fairlead/config.json`);
  // it goes into a header, whose own complaint would show it
  if (/\s/.test(adminKey)) throw new Failure(`Cannot use control at ${control}: the admin key holds a space or a line break`, 2);
  return { control, adminKey };
}

function upward(folder: string): string[] {
  const parent = dirname(resolve(folder));
  return parent === resolve(folder) ? [parent] : [resolve(folder), ...upward(parent)];
}

async function readWritten(file: string): Promise<Written | undefined> {
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const { control, adminKey } = JSON.parse(text) as Record<string, unknown>;
    return { file, ...(typeof control === "string" ? { control } : {}), ...(typeof adminKey === "string" ? { adminKey } : {}) };
  } catch {
    throw new Failure(`Cannot read ${file}: it is not JSON`);
  }
}

function trimmed(url: string | undefined): string | undefined {
  return url === undefined || url === "" ? undefined : url.replace(/\/+$/, "");
}
