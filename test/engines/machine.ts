import { execFile } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";

/** What is installed and made for these tests is kept here, for the next time. */
export const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "fairlead-engines");

/** Installing compiles: llama-cpp-python takes a quarter of an hour on two cores. */
const installMs = 3_600_000;

/** Why an engine is not tried, in words. */
export class Absent extends Error {
  override name = "Absent";
}

export function inPath(program: string): string | undefined {
  const candidates = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, program));
  return candidates.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** @throws Absent with the last line that the command wrote */
export async function run(program: string, args: string[], options: { env?: Record<string, string>; timeoutMs?: number } = {}): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, args, { env: { ...process.env, ...options.env }, timeout: options.timeoutMs ?? 60_000, maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { stderr = "", message } = error as { stderr?: string; message: string };
    throw new Absent(`${program} ${args.slice(0, 3).join(" ")}: ${stderr.trim().split("\n").at(-1) || message.split("\n")[0]}`);
  }
}

export interface InstallOptions {
  env?: Record<string, string>;
  /** What the packages require is taken in any build of the version: `torch==2.13.0` for `torch==2.13.0+cpu`. */
  anyBuild?: boolean;
}

/** A Python of our own that has these packages; installed when it is not there and may be. */
export async function python(name: string, packages: string[], proof: string, mayInstall: boolean, { env = {}, anyBuild = false }: InstallOptions = {}): Promise<string> {
  const found = join(cache, name, "bin/python");
  const has = async (): Promise<boolean> => run(found, ["-c", proof], { timeoutMs: 300_000 }).then(() => true, () => false);
  if (existsSync(found) && (await has())) return found;
  if (!mayInstall) throw new Absent(`it is large; FAIRLEAD_ENGINES_INSTALL=${name} installs it`);
  const base = inPath("python3");
  if (base === undefined) throw new Absent("python3 is not in PATH");
  mkdirSync(cache, { recursive: true });
  await run(base, ["-m", "venv", join(cache, name)]);
  console.log(`Installing ${packages.join(" ")} into ${join(cache, name)}…`);
  const install = async (args: string[]): Promise<unknown> => run(found, ["-m", "pip", "install", "--quiet", ...args], { env, timeoutMs: installMs });
  if (anyBuild) {
    await install(["--no-deps", ...packages]);
    await install((await run(found, ["-c", requirements, ...packages])).trim().split("\n"));
  } else {
    await install(packages);
  }
  return found;
}

/** What installed packages require, one a line, without the build that a version may name. */
const requirements = `
import importlib.metadata, re, sys
for package in sys.argv[1:]:
    for requirement in importlib.metadata.requires(package) or []:
        if "extra ==" not in requirement:
            print(re.sub(r"(==[\\w.]+)\\+\\w+", r"\\1", requirement))
`;

/** A Go program, from PATH, from our cache, or installed from its module. */
export async function goProgram(name: string, module: string): Promise<string> {
  const mine = join(cache, "gobin", name);
  const found = inPath(name) ?? (existsSync(mine) ? mine : undefined);
  if (found !== undefined) return found;
  const go = inPath("go");
  if (go === undefined) throw new Absent(`neither ${name} nor go is in PATH`);
  console.log(`Installing ${module}…`);
  await run(go, ["install", module], { env: { GOBIN: join(cache, "gobin"), CGO_ENABLED: "0" }, timeoutMs: installMs });
  return mine;
}

/** The Python beside a program that is one of its scripts. */
export function pythonOf(program: string): string {
  const beside = join(dirname(realpathSync(program)), "python3");
  return existsSync(beside) ? beside : (inPath("python3") ?? "python3");
}

/** A file or folder of the cache, made by a script of ours when it is not there. */
export async function made(name: string, script: string, by: string): Promise<string> {
  const path = join(cache, name);
  if (!existsSync(path)) {
    mkdirSync(cache, { recursive: true });
    await run(by, [join(import.meta.dirname, script), path], { timeoutMs: 300_000 });
  }
  return path;
}
