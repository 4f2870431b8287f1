import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";

const help = `A stranger's first minutes: clone what is committed here into a temporary folder, start it with scripts/up, stream one
answer, ask for the status, stop it, and look for anything left running.

Usage: scripts/ci/smoke

Example:
  scripts/ci/smoke
`;

const root = join(import.meta.dirname, "../..");
/** Packages have to be fetched and installed in the clone. */
const upMsMax = 240_000;
const stopMsMax = 6_000;

interface Up {
  endpoint: string;
  apiKey: string;
}

/** Processes whose command line or working folder is in a folder; by their ids. */
function processesIn(folder: string): { pid: number; command: string }[] {
  if (!existsSync("/proc/self/cmdline")) {
    const lines = execFileSync("ps", ["-axo", "pid=,args="], { encoding: "utf8" }).split("\n");
    return lines.filter((line) => line.includes(folder)).map((line) => ({ pid: Number.parseInt(line, 10), command: line.trim().replace(/^\d+\s+/, "") }));
  }
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      return command.includes(folder) || readlinkSync(`/proc/${name}/cwd`).startsWith(folder) ? [{ pid: Number(name), command }] : [];
    } catch {
      // gone, or another user's
      return [];
    }
  });
}

/** The first model's streamed answer, whole. @throws Error when it is no stream or does not end as one */
async function stream({ endpoint, apiKey }: Up, end: AbortSignal): Promise<string> {
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  const signal = AbortSignal.any([end, AbortSignal.timeout(60_000)]);
  const models = (await (await fetch(`${endpoint}/models`, { headers, signal })).json()) as { data?: { id: string }[] };
  const model = models.data?.[0]?.id;
  if (model === undefined) throw new Error(`Cannot ask for an answer: /v1/models lists none: ${JSON.stringify(models)}`);
  const response = await fetch(`${endpoint}/chat/completions`, {
    method: "POST", headers, signal,
    body: JSON.stringify({ model, stream: true, max_tokens: 20, messages: [{ role: "user", content: "Say hello." }] }),
  });
  const text = await response.text();
  if (response.status !== 200 || !text.trimEnd().endsWith("data: [DONE]")) throw new Error(`Cannot read the answer of "${model}" as a stream: status ${response.status}: ${text.slice(-500)}`);
  return `${model}: ${text.split("\n").filter((line) => line.startsWith("data: ")).length} events`;
}

async function main(): Promise<void> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "fairlead-smoke-")));
  const clone = join(folder, "fairlead");
  let up: ReturnType<typeof spawn> | undefined;
  let output = "";
  const said = (): string => (output === "" ? "" : `\n${output}`);
  let since = Date.now();
  const done = (what: string): void => {
    console.log(`✓ ${what} (${((Date.now() - since) / 1000).toFixed(1)} s)`);
    since = Date.now();
  };
  const end = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(name, () => end.abort(new Error(`Interrupted by ${name}`)));
  try {
    execFileSync("git", ["clone", "--quiet", root, clone], { stdio: ["ignore", "inherit", "inherit"] });
    done("cloned");

    const child = spawn(join(clone, "scripts/up"), ["--port", "0", "--control-port", "0", "--fleet-port", "0"], { cwd: clone, stdio: ["ignore", "pipe", "pipe"] });
    up = child;
    const gone = new Promise<string>((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    for (const pipe of [child.stdout, child.stderr]) pipe.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const file = join(clone, ".fairlead/up.json");
    for (const latest = Date.now() + upMsMax; !existsSync(file); ) {
      end.signal.throwIfAborted();
      if (child.exitCode !== null || child.pid === undefined) throw new Error(`scripts/up ended before it was up: ${await gone}`);
      if (Date.now() > latest) throw new Error(`scripts/up was not up within ${upMsMax / 1000} s`);
      await wait(100);
    }
    done("scripts/up is up");

    done(`streamed ${await stream(JSON.parse(readFileSync(file, "utf8")) as Up, end.signal)}, ending in [DONE]`);

    const { stdout } = await promisify(execFile)("npx", ["fairlead", "status", "--json"], { cwd: clone, encoding: "utf8", timeout: 60_000, signal: end.signal });
    if (!stdout.includes('"ready"')) throw new Error(`Cannot find a ready replica in the status: ${stdout}`);
    JSON.parse(stdout);
    done("npx fairlead status --json");

    child.kill("SIGTERM");
    const late = Promise.withResolvers<"late">();
    const timer = setTimeout(() => late.resolve("late"), stopMsMax);
    const how = await Promise.race([gone, late.promise]);
    clearTimeout(timer);
    if (how === "late") throw new Error(`scripts/up was not gone ${stopMsMax / 1000} s after SIGTERM`);
    if (how !== "exit code 0") throw new Error(`scripts/up ended with ${how}, not 0`);
    up = undefined;
    const left = processesIn(folder);
    if (left.length > 0) throw new Error(`Left running:\n${left.map(({ pid, command }) => `  ${pid} ${command}`).join("\n")}`);
    done("stopped, nothing left running");
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}${said()}`, { cause: error });
  } finally {
    if (up !== undefined) {
      up.kill("SIGTERM");
      for (const latest = Date.now() + stopMsMax; up.exitCode === null && up.signalCode === null && Date.now() < latest; ) await wait(50);
    }
    for (const { pid } of processesIn(folder)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // gone by itself
      }
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv.includes("--help") || process.argv.includes("-h")) {
  process.stdout.write(help);
} else {
  try {
    await main();
  } catch (error) {
    console.error(`fairlead: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
