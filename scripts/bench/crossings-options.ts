import { Command } from "commander";
import { positive, type Options } from "./options.ts";

export interface CrossingsOptions extends Options {
  connections: number;
}

const examples = `
Examples:
  scripts/bench/crossings                 all steps, 21 rounds of 3 s: about a minute and a half
  scripts/bench/crossings --rounds 60     less of the machine's noise`;

export function parseCrossingsOptions(argv: string[]): CrossingsOptions {
  const command = new Command("scripts/bench/crossings")
    .description(
      "Measures what single steps of a request cost in the workerd binary: small Workers between a client and an upstream on 127.0.0.1, each with one step more than another, all on one core and under load at the same time. " +
        "What the router may do on every request is decided by these (docs/adr/0012).",
    )
    .option("--rounds <n>", "rounds, of which medians are shown", positive, 21)
    .option("--seconds <n>", "length of one", positive, 3)
    .option("--connections <n>", "connections to each Worker", positive, 8)
    .option("--json <file>", "write all rounds to this file")
    .addHelpText("after", examples)
    .parse(argv);
  return { ...command.opts<Pick<CrossingsOptions, "rounds" | "seconds" | "connections">>(), peers: [], scenarios: [], quick: false, cacheDir: "" };
}
