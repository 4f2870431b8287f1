/** The benchmark of the router: `scripts/bench/edge --help`. */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { measureAnswers } from "./answers.ts";
import { openBench, setUp, type Bench } from "./bench.ts";
import { checkAnswer, checkStream } from "./check.ts";
import { install, startAll, stopAll, type Lineup } from "./lineup.ts";
import { watchMemory } from "./memory-run.ts";
import { measureOpen } from "./open.ts";
import { parseOptions } from "./options.ts";
import { measurePaced } from "./paced.ts";
import { answersReport, memoryReport, openReport, pacedReport, streamsReport } from "./report.ts";
import { measureStreams } from "./streams.ts";
import { answerTargets, memoryTarget, openTarget, streamTargets, targetLine } from "./targets.ts";

const print = (text: string) => process.stdout.write(`${text}\n`);

function printHead(bench: Bench, { present, leftOut, gaps }: Lineup): void {
  print(setUp(bench).join("\n"));
  print(`peers: ${present.filter(({ peer }) => !leftOut.has(peer.name)).map(({ peer, version }) => `${peer.name} ${version}`).join(", ")}`);
  for (const [name, reason] of leftOut) print(`left out: ${name}: ${reason}`);
  for (const gap of gaps) print(gap);
}

function writeJson(bench: Bench, lineup: Lineup, measured: object): void {
  if (!bench.options.json) return;
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
  const peers = Object.fromEntries(lineup.present.map(({ peer, version }) => [peer.name, version]));
  const plain = (_: string, value: unknown) => (value instanceof Map ? Object.fromEntries(value) : value);
  const { rounds, seconds } = bench.options;
  writeFileSync(bench.options.json, `${JSON.stringify({ takenAt: new Date().toISOString(), machine, setUp: setUp(bench), rounds, seconds, peers, leftOut: lineup.leftOut, gaps: lineup.gaps, ...measured }, plain, 2)}\n`);
}

/** Memory of one peer over many requests. */
async function runMemory(bench: Bench, name: string): Promise<void> {
  const lineup = await install(bench, [name]);
  const started = await startAll(bench, lineup, bench.upstreams.answers, checkAnswer, { inspect: true });
  const one = started.find((candidate) => candidate.name === name);
  if (!one) throw new Error(`Cannot watch the memory of ${name}: ${lineup.leftOut.get(name)}`);
  const readings = await watchMemory(bench, one);
  await stopAll(started);
  const target = memoryTarget(name, readings);
  printHead(bench, lineup);
  print(`\n${memoryReport(name, readings)}\n\n${targetLine(target)}`);
  writeJson(bench, lineup, { memory: readings, targets: [target] });
}

/** Everything else: whole answers, paced answers, streams, open streams. */
async function runScenarios(bench: Bench): Promise<void> {
  const wanted = new Set(bench.options.scenarios);
  const lineup = await install(bench, bench.options.peers);

  // The paced rate is a share of the capacity that the closed loop finds.
  const first = wanted.has("answers") || wanted.has("paced") ? await startAll(bench, lineup, bench.upstreams.answers, checkAnswer) : [];
  const answers = first.length > 0 ? await measureAnswers(bench, lineup, first) : undefined;
  const paced = answers && wanted.has("paced") ? await measurePaced(bench, lineup, first, answers) : undefined;
  await stopAll(first);

  const second = wanted.has("streams") ? await startAll(bench, lineup, bench.upstreams.streams, checkStream) : [];
  const streams = second.length > 0 ? await measureStreams(bench, lineup, second) : undefined;
  await stopAll(second);

  const third = wanted.has("open") ? await startAll(bench, lineup, bench.upstreams.streams, checkStream, { inspect: true }) : [];
  const open = third.length > 0 ? await measureOpen(bench, lineup, third) : undefined;
  await stopAll(third);

  const targets = [...answerTargets(answers), ...streamTargets(streams), openTarget(open)];
  printHead(bench, lineup);
  if (answers) print(`\n${answersReport(answers)}`);
  if (paced) print(`\n${pacedReport(paced)}`);
  if (streams) print(`\n${streamsReport(streams)}`);
  if (open) print(`\n${openReport(open)}`);
  print(`\n${targets.map(targetLine).join("\n")}`);
  print("target no growth of memory over 100,000 requests: measured by --memory");
  writeJson(bench, lineup, { answers, paced, streams, open, targets });
}

const options = parseOptions(process.argv);
try {
  const bench = await openBench(options);
  await (options.memory ? runMemory(bench, options.memory) : runScenarios(bench));
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
