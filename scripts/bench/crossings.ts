/** What single steps of a request cost: `scripts/bench/crossings --help`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { workerdBinary } from "../local/workerd.ts";
import { openBench, setUp } from "./bench.ts";
import { launch, listening, type Child } from "./children.ts";
import { cpuMsOf } from "./cpu.ts";
import { parseCrossingsOptions } from "./crossings-options.ts";
import { floor, steps, type Step } from "./crossings-steps.ts";
import { generate } from "./generate.ts";
import type { ClosedJob, ClosedResult } from "./load-closed.ts";
import { bearer } from "./peers/peer.ts";
import { workerdConfig } from "./peers/workerd.ts";
import { freePort } from "./port.ts";
import { median } from "./quantile.ts";
import { figure, table } from "./table.ts";
import { endpoint } from "./upstream.ts";
import { runWrk } from "./wrk.ts";

const options = parseCrossingsOptions(process.argv);
const bench = await openBench(options);

interface Started {
  step: Step;
  child: Child;
  url: string;
  workDir: string;
}

async function start(step: Step, index: number): Promise<Started> {
  const workDir = join(bench.workDir, `step-${index}`);
  mkdirSync(workDir);
  const port = await freePort();
  writeFileSync(join(workDir, "main.mjs"), `${step.once ?? ""}\nexport default { async fetch(request, env) { ${step.script} } };\n`);
  writeFileSync(join(workDir, "config.capnp"), workerdConfig({ port, upstream: endpoint(bench.upstreams.answers) }));
  const child = launch([workerdBinary(), "serve", join(workDir, "config.capnp")], { cpu: bench.cores.proxy, log: join(workDir, "log") });
  await listening(child, port, 10_000);
  return { step, child, url: endpoint(`http://127.0.0.1:${port}`), workDir };
}

/** Requests that were answered, of all at once. */
function load(all: readonly Started[], seconds: number): Promise<number[]> {
  return Promise.all(all.map(async ({ url, workDir, step }) => {
    const job = { kind: "closed", url, headers: bearer, connections: options.connections, seconds } satisfies ClosedJob;
    const { requests, errors } = bench.wrk ? await runWrk(bench.wrk, job, { workDir, cpu: bench.cores.load }) : await generate<ClosedResult>(bench, job);
    if (requests === 0 || errors > 0) throw new Error(`Cannot judge "${step.name}": ${requests} answers, ${errors} errors`);
    return requests;
  }));
}

const all = await Promise.all(steps.map(start));
const cpuUs = new Map<string, number[]>(steps.map(({ name }) => [name, []]));
bench.say("warm-up");
await load(all, options.seconds);
for (let round = 1; round <= options.rounds; round++) {
  bench.say(`round ${round} of ${options.rounds}`);
  const before = all.map(({ child }) => cpuMsOf([child.pid]));
  const requests = await load(all, options.seconds);
  for (const [i, { step, child }] of all.entries()) cpuUs.get(step.name)?.push(((cpuMsOf([child.pid]) - (before[i] as number)) / (requests[i] as number)) * 1_000);
}
await Promise.all(all.map(({ child }) => child.end()));

/** Each round's figure in the floor's of the same round, which the machine treated alike. */
const inFloor = (name: string): number => median((cpuUs.get(name) ?? []).map((us, round) => us / (cpuUs.get(floor)?.[round] ?? Number.NaN)));
const rows = steps.map(({ name, against }) => [name, figure(median(cpuUs.get(name) ?? []), 0), figure(inFloor(name), 2), name === floor ? "-" : `${inFloor(name) < inFloor(against) ? "" : "+"}${figure(inFloor(name) - inFloor(against), 3)}`, against]);
process.stdout.write(`${setUp(bench).join("\n")}\n\nAll under load at once, ${options.connections} connections each, so that each moment of the machine is a moment of all; medians of ${options.rounds} rounds\n${table(["step", "CPU us/request", `x ${floor}`, "the step", "against"], rows)}\n`);
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ connections: options.connections, cpuUs: Object.fromEntries(cpuUs) }, null, 2)}\n`);
process.exit(0);
