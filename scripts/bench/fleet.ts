/** The benchmark of the fleet: `scripts/bench/fleet --help`. */
import { writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { measureAnswers } from "./answers.ts";
import { openBench, setUp } from "./bench.ts";
import { checkAnswer, checkStream } from "./check.ts";
import { measureHeartbeats, measureView } from "./fleet-hub.ts";
import { measureHerd, measureLosses } from "./fleet-loss.ts";
import { parseFleetOptions, type Part } from "./fleet-options.ts";
import { carriages } from "./fleet-peers.ts";
import { capacityLine, fleetTargets, heartbeatsReport, herdReport, lossReport, viewReport, type FleetFigures } from "./fleet-report.ts";
import { install, startAll, stopAll, type Lineup } from "./lineup.ts";
import { measureOpen } from "./open.ts";
import { answersReport, openReport, streamsReport, streamsTable } from "./report.ts";
import { gapsMs, measureFew, measureStreams } from "./streams.ts";
import { targetLine } from "./targets.ts";

const print = (text: string) => process.stdout.write(`${text}\n`);
const options = parseFleetOptions(process.argv);
const wants = (part: Part): boolean => options.parts.includes(part);

try {
  const bench = await openBench(options);
  const figures: FleetFigures = { heartbeats: [] };
  const gaps: string[] = [];
  /** A part that fails leaves a gap, and the others go on. */
  const part = async (name: Part, measure: () => Promise<void>): Promise<void> => {
    if (!wants(name)) return;
    try {
      await measure();
    } catch (error) {
      gaps.push(`no figures: ${name}: ${error instanceof Error ? error.message : String(error)}`);
      bench.say(gaps.at(-1) ?? "");
    }
  };
  for (const agents of wants("heartbeats") ? options.agents : []) await part("heartbeats", async () => void figures.heartbeats.push(await measureHeartbeats(bench, agents)));
  await part("view", async () => void (figures.view = await measureView(bench, options.quick ? 100 : 1_000, 10)));
  await part("loss", async () => void (figures.losses = await measureLosses(bench)));
  await part("herd", async () => void (figures.herd = await measureHerd(bench, options.quick ? 100 : 1_000)));

  const peers = carriages(bench.cores.load);
  const lineup: Lineup = await install(bench, peers.map(({ name }) => name), peers);
  if (wants("streams") || wants("answers")) {
    const started = await startAll(bench, lineup, bench.upstreams.streams, checkStream);
    await part("streams", async () => {
      figures.streams = await measureStreams(bench, lineup, started);
      figures.few = await measureFew(bench, lineup, started);
    });
    await part("answers", async () => void (figures.answers = await measureAnswers(bench, lineup, started)));
    await stopAll(started);
  }
  await part("open", async () => {
    const started = await startAll(bench, lineup, bench.upstreams.streams, checkAnswer, { inspect: true });
    figures.open = await measureOpen(bench, lineup, started).finally(() => stopAll(started));
  });

  const { heartbeats, view, losses, herd, streams, few, answers, open } = figures;
  print(setUp(bench).join("\n"));
  print(`others on this machine: load average ${loadavg().map((load) => load.toFixed(1)).join(", ")} on ${cpus().length} cores${(loadavg()[0] ?? 0) > cpus().length ? ": too much for figures" : ""}`);
  for (const [name, reason] of lineup.leftOut) print(`left out: ${name}: ${reason}`);
  for (const gap of [...gaps, ...lineup.gaps]) print(gap);
  if (heartbeats.length > 0) print(`\n${heartbeatsReport(heartbeats)}`);
  if (view) print(`\n${viewReport(view)}`);
  if (losses) print(`\n${lossReport(losses)}`);
  if (herd) print(`\n${herdReport(herd)}`);
  if (streams) print(`\n${streamsReport(streams)}\n${capacityLine(streams)}`);
  for (const some of few ?? []) print(`\n${streamsTable(some, gapsMs[0])}`);
  if (answers) print(`\n${answersReport(answers)}`);
  if (open) print(`\n${openReport(open)}`);
  const targets = fleetTargets(figures);
  print(`\n${targets.map(targetLine).join("\n")}`);
  if (options.json) {
    const plain = (_: string, value: unknown) => (value instanceof Map ? Object.fromEntries(value) : value);
    const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, load: loadavg() };
    writeFileSync(options.json, `${JSON.stringify({ takenAt: new Date().toISOString(), machine, setUp: setUp(bench), rounds: options.rounds, seconds: options.seconds, gaps: [...gaps, ...lineup.gaps], ...figures, targets }, plain, 2)}\n`);
  }
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
