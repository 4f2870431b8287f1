import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, createReadStream, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as wait } from "node:timers/promises";
import { parseArgs } from "node:util";
import { add, nothing, summary, type Counts } from "./checks/counts.ts";
import { stepsOf, suites, type Step, type Suite } from "./checks/steps.ts";

const help = `Run the checks that CI runs.

Usage: scripts/test [SUITE]… [--verbose]

  all           lint, types, bundles of both Workers, examples, and the suites unit, worker, e2e and chaos (default)
  unit          pure functions and single parts
  worker        the edge in workerd
  e2e           whole worlds of real processes
  chaos         whole worlds, with parts killed and cut off
  engines       one suite against every real engine that is found; installs llama-cpp-python and llm-d-inference-sim into
                ~/.cache/fairlead-engines (docs/engines.md)
  docker        the docker executor against a real engine, where one answers
  faults        the workerd that holds a host's Relay killed again and again under load, with how long streams paused; agents whose
                clocks are a day off (libfaketime; skipped without): some minutes
  network       hosts cut off and on lossy links, in network namespaces (root and nftables; skipped without)
  bench-smoke   the benchmark of the edge, its shortest run
  smoke         a fresh clone: scripts/up, one streamed answer, stop (takes what is committed)

  -v, --verbose   show the output of what passes, too
  -h, --help      this text

Examples:
  scripts/test
  scripts/test unit
  scripts/test unit worker --verbose

One test of one file: npx vitest run --project unit schema/frames.test.ts -t 'truncation'

The last line is \`N passed, N failed\` (\`, N skipped\`); the exit code is 0 only when none failed.
`;

const root = join(import.meta.dirname, "..");
const graceMs = 8_000;

interface Options {
  chosen: Suite[];
  verbose: boolean;
}

/** @throws Error for what is no suite and no option */
function readOptions(args: string[]): Options | "help" {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { verbose: { type: "boolean", short: "v", default: false }, help: { type: "boolean", short: "h", default: false } } });
  if (values.help) return "help";
  const chosen = positionals.map((name) => {
    const suite = suites.find((one) => one === name);
    if (suite === undefined) throw new Error(`Cannot run "${name}": it is none of ${suites.join(", ")}`);
    return suite;
  });
  return { chosen: chosen.length > 0 ? chosen : ["all"], verbose: values.verbose };
}

let running: ChildProcess | undefined;
let interrupted: NodeJS.Signals | undefined;

/** To a step and everything in its process group. @returns whether anything was there to get it */
function signal(child: ChildProcess, name: NodeJS.Signals | 0): boolean {
  try {
    return child.pid !== undefined && process.kill(-child.pid, name);
  } catch {
    return false;
  }
}

/** Run one command to its end. Its output goes to a file, so that nothing it leaves behind holds up the next one. */
async function run({ command: [program, ...args] }: Step, output: string, verbose: boolean, folder: string): Promise<number> {
  const file = openSync(output, "w");
  const { FORCE_COLOR: _, ...inherited } = process.env;
  const child = spawn(program, args, {
    cwd: root,
    env: { ...inherited, NO_COLOR: "1", CI: "true", WRANGLER_SEND_METRICS: "false", WRANGLER_LOG_PATH: join(folder, "wrangler.log") },
    stdio: ["ignore", verbose ? "inherit" : file, verbose ? "inherit" : file],
    detached: true,
  });
  closeSync(file);
  running = child;
  const { promise, resolve } = Promise.withResolvers<number>();
  child.once("error", (error) => {
    console.error(`Cannot start ${program}: ${error.message}`);
    resolve(1);
  });
  child.once("exit", (code) => resolve(code ?? 1));
  const exitCode = await promise;
  running = undefined;
  // what a step has left in its group ends with it: at once, or when told to stop, as it knows how to
  if (interrupted !== undefined) for (const latest = Date.now() + graceMs; signal(child, 0) && Date.now() < latest; ) await wait(50);
  signal(child, "SIGKILL");
  return exitCode;
}

async function main({ chosen, verbose }: Options, folder: string): Promise<Counts> {
  let total = nothing;
  for (const step of stepsOf(chosen, folder)) {
    const since = Date.now();
    const output = join(folder, "output");
    if (verbose) console.log(`— ${step.name}`);
    const exitCode = await run(step, output, verbose, folder);
    if (interrupted !== undefined) return total;
    const counts = step.count(exitCode);
    total = add(total, counts);
    if (counts.failed > 0 && !verbose) await pipeline(createReadStream(output), process.stdout, { end: false });
    console.log(`${counts.failed > 0 ? "✗" : "✓"} ${step.name} (${((Date.now() - since) / 1000).toFixed(1)} s): ${summary(counts)}`);
    for (const name of step.skipped?.() ?? []) console.log(`  ${name}`);
  }
  return total;
}

for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(name, () => {
    interrupted ??= name;
    if (running === undefined) return;
    const child = running;
    signal(child, "SIGTERM");
    setTimeout(() => void signal(child, "SIGKILL"), graceMs).unref();
  });
}

let options: Options | "help";
try {
  options = readOptions(process.argv.slice(2));
} catch (error) {
  console.error(`fairlead: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`);
  process.exit(2);
}
if (options === "help") {
  process.stdout.write(help);
} else {
  const folder = mkdtempSync(join(tmpdir(), "fairlead-test-"));
  try {
    const total = await main(options, folder);
    if (interrupted === undefined) {
      console.log(summary(total));
      process.exitCode = total.failed > 0 ? 1 : 0;
    } else {
      console.error(`fairlead: Interrupted by ${interrupted}: ${summary(total)} until then`);
      process.exitCode = interrupted === "SIGINT" ? 130 : interrupted === "SIGTERM" ? 143 : 129;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
