import { execFile } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
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

/** A program that was put into our cache, once it is whole there. */
function kept(name: string): string | undefined {
  const mine = join(cache, "bin", name);
  return existsSync(mine) ? mine : undefined;
}

/** Puts a program that was made into our cache. */
function keep(name: string, file: string): string {
  const mine = join(cache, "bin", name);
  mkdirSync(dirname(mine), { recursive: true });
  renameSync(file, mine);
  return mine;
}

/**
 * A Go program, from PATH, from our cache, or built from its module.
 *
 * It is built as a dependency of a module that has nothing else: `go install` asks for the list of the versions, which a proxy may not have.
 */
export async function goProgram(name: string, { module, version, path = "", flags = [], cgo = false, mayInstall }: { module: string; version: string; path?: string; flags?: string[]; cgo?: boolean; mayInstall: boolean }): Promise<string> {
  const found = inPath(name) ?? kept(name);
  if (found !== undefined) return found;
  if (!mayInstall) throw new Absent(`${name} is not in PATH; FAIRLEAD_ENGINES_INSTALL=${name} builds it`);
  const go = inPath("go");
  if (go === undefined) throw new Absent(`neither ${name} nor go is in PATH`);
  const folder = join(cache, "build", name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "go.mod"), `module engines\n\nrequire ${module} ${version}\n`);
  console.log(`Building ${module}${path} ${version}…`);
  await run(go, ["build", "-C", folder, "-mod=mod", ...flags, "-o", "built", `${module}${path}`], { env: { CGO_ENABLED: cgo ? "1" : "0" }, timeoutMs: installMs });
  return keep(name, join(folder, "built"));
}

/** Lays one program where another of our cache looks for it. */
export function lay(program: string, at: string): void {
  if (existsSync(at)) return;
  mkdirSync(dirname(at), { recursive: true });
  rmSync(at, { force: true });
  symlinkSync(program, at);
}

/** A program from PATH, from our cache, or compiled by CMake from what a Python package's source archive has in one of its folders. */
export async function cmakeProgram(name: string, { by, archive, folder, options, beside = [], mayInstall }: { by: string; archive: string; folder: string; options: (version: string) => string[]; beside?: string[]; mayInstall: boolean }): Promise<string> {
  const found = inPath(name) ?? kept(name);
  if (found !== undefined) return found;
  if (!mayInstall) throw new Absent(`${name} is not in PATH; FAIRLEAD_ENGINES_INSTALL=${name} compiles it`);
  const cmake = inPath("cmake");
  if (cmake === undefined) throw new Absent(`neither ${name} nor cmake is in PATH`);
  const into = join(cache, "build", name);
  mkdirSync(into, { recursive: true });
  console.log(`Compiling ${name} of ${archive}'s sources in ${into}…`);
  const downloaded = (): string | undefined => readdirSync(into).find((file) => file.endsWith(".tar.gz"));
  if (downloaded() === undefined) await run(by, ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", archive, "--dest", into, archive], { timeoutMs: installMs });
  const version = (downloaded() ?? `${archive}.tar.gz`).slice(0, -".tar.gz".length);
  await run("tar", ["-xzf", join(into, `${version}.tar.gz`), "-C", into], { timeoutMs: 300_000 });
  await run(cmake, ["-S", join(into, version, folder), "-B", join(into, "made"), "-DCMAKE_BUILD_TYPE=Release", ...options(version)], { timeoutMs: 300_000 });
  await run(cmake, ["--build", join(into, "made"), "--target", ...beside, name, "--parallel", String(availableParallelism())], { timeoutMs: installMs });
  for (const one of beside) keep(one, join(into, "made/bin", one));
  return keep(name, join(into, "made/bin", name));
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
