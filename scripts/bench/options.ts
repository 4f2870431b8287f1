import { homedir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { peers } from "./peers/all.ts";

export const scenarios = ["answers", "paced", "streams", "open"] as const;
export type Scenario = (typeof scenarios)[number];

export interface Options {
  rounds: number;
  /** Length of one measurement, in whole seconds. */
  seconds: number;
  quick: boolean;
  /** Names of the peers to run; the upstream directly always runs. */
  peers: string[];
  scenarios: Scenario[];
  json?: string;
  /** Name of the peer whose memory is watched instead of all else. */
  memory?: string;
  cacheDir: string;
}

export function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("a whole number from 1 up is wanted");
  return value;
}

export function listOf<T extends string>(allowed: readonly T[]): (text: string) => T[] {
  return (text) =>
    text.split(",").map((name) => {
      const found = allowed.find((one) => one === name.trim());
      if (!found) throw new InvalidArgumentError(`"${name}" is none of ${allowed.join(", ")}`);
      return found;
    });
}

const names = peers.map(({ name }) => name).filter((name) => name !== "direct");

const description =
  "Compares the router with other proxies on this machine: requests/s, CPU per request, added latency, streams, memory per open stream. " +
  "Load goes to 127.0.0.1 only; the proxy under test has one core, load and upstream share another. Peers that are not on the machine " +
  "are installed below ${XDG_CACHE_HOME:-~/.cache}/fairlead-bench (LiteLLM takes some 750 MB there), or left out with the reason. " +
  "nginx and wrk are used where installed (Debian: apt-get install nginx-light wrk). Use the ratios, never the absolutes.";

const examples = `
Examples:
  scripts/bench/edge                                  all peers, 3 rounds of 4 s: about 20 minutes
  scripts/bench/edge --quick                          a smoke run, 1 round of 1 s
  scripts/bench/edge --peers fairlead,workerd,nginx   fewer peers
  scripts/bench/edge --scenarios answers --rounds 5   whole answers only
  scripts/bench/edge --scenarios open                 memory per open stream only, 400 at once, in one round
  scripts/bench/edge --json edge.json                 all rounds as JSON too
  scripts/bench/edge --memory                         100,000 requests through the router, its memory each 10,000
  scripts/bench/edge --memory workerd                 the same through another peer`;

export function parseOptions(argv: string[]): Options {
  const command = new Command("scripts/bench/edge")
    .description(description)
    .option("--quick", "smoke run: 1 round of 1 s, a tenth of the requests for --memory, 50 open streams", false)
    .option("--rounds <n>", "rounds; peers take turns in each, medians of rounds are shown (default: 3)", positive)
    .option("--seconds <n>", "length of one measurement (default: 4)", positive)
    .addOption(new Option("--peers <a,b>", `peers to run, of ${names.join(", ")}`).argParser(listOf(names)).default(names, "all"))
    .addOption(new Option("--scenarios <a,b>", `of ${scenarios.join(", ")}`).argParser(listOf(scenarios)).default([...scenarios], "all"))
    .option("--json <file>", "write machine, peers and all rounds to this file")
    .addOption(new Option("--memory [peer]", "watch the memory of one peer over 100,000 requests, and measure nothing else").choices(names).preset("fairlead"))
    .addHelpText("after", examples)
    .parse(argv);
  const given = command.opts<Omit<Options, "cacheDir">>();
  return {
    ...given,
    rounds: given.rounds ?? (given.quick ? 1 : 3),
    seconds: given.seconds ?? (given.quick ? 1 : 4),
    cacheDir: join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "fairlead-bench"),
  };
}
