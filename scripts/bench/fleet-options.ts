import { homedir } from "node:os";
import { join } from "node:path";
import { Command, Option } from "commander";
import { listOf, positive, type Options } from "./options.ts";

export const parts = ["heartbeats", "view", "loss", "herd", "streams", "answers", "open"] as const;
export type Part = (typeof parts)[number];

export interface FleetOptions extends Options {
  parts: Part[];
  /** Sizes of the fleets whose heartbeats are taken. */
  agents: number[];
}

const description =
  "Measures one Hub (heartbeats, joining, snapshots, agents that come back all at once), how soon a lost host gets no more requests, and a " +
  "relay against the same upstream called directly and through the host's gate. All of it in the workerd binary, with agents' own code, on " +
  "127.0.0.1. The edge has one core, agents, load and upstream share another. Use the ratios of one run, never the absolutes: a machine " +
  "that others use gives neither.";

const examples = `
Parts:
  heartbeats   CPU and memory of a Hub for so many agents, next to a bare object that takes the same messages
  view         size and cost of a snapshot of 10,000 replicas, once a second for each isolate that is asked
  loss         two hosts; one is killed, or falls silent: with traffic and without
  herd         1,000 agents lose their Hub at once
  streams      CPU and delay of a chunk: provider, relay and gate
  answers      CPU of a whole answer: the same
  open         memory of an open stream: the same

Examples:
  scripts/bench/fleet                                  all parts, 3 rounds of 4 s: about 20 minutes
  scripts/bench/fleet --quick                          a smoke run
  scripts/bench/fleet --parts heartbeats --agents 1000 one part
  scripts/bench/fleet --parts streams,answers --rounds 7 --json fleet.json`;

export function parseFleetOptions(argv: string[]): FleetOptions {
  const command = new Command("scripts/bench/fleet")
    .description(description)
    .option("--quick", "smoke run: 1 round of 1 s, 100 agents, 1,000 replicas, 50 open streams", false)
    .option("--rounds <n>", "rounds; those that are compared take turns in each (default: 3)", positive)
    .option("--seconds <n>", "length of one measurement (default: 4)", positive)
    .option("--agents <a,b>", "fleets whose heartbeats are taken (default: 1000,10000)", (text) => text.split(",").map(positive))
    .addOption(new Option("--parts <a,b>", `of ${parts.join(", ")}`).argParser(listOf(parts)).default([...parts], "all"))
    .option("--json <file>", "write machine, figures and all rounds to this file")
    .addHelpText("after", examples)
    .parse(argv);
  const given = command.opts<{ quick: boolean; rounds?: number; seconds?: number; agents?: number[]; parts: Part[]; json?: string }>();
  return {
    ...given,
    rounds: given.rounds ?? (given.quick ? 1 : 3),
    seconds: given.seconds ?? (given.quick ? 1 : 4),
    agents: given.agents ?? (given.quick ? [100] : [1_000, 10_000]),
    peers: [],
    scenarios: [],
    cacheDir: join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "fairlead-bench"),
  };
}
