/** What scaling is worth, on virtual time: `scripts/bench/scale --help`. */
import { writeFileSync } from "node:fs";
import { Argument, Command, InvalidArgumentError } from "commander";
import { demandSection } from "./scale-demand.ts";
import type { Section } from "./scale-section.ts";
import { zeroSection } from "./scale-zero.ts";
import { spotSection } from "./spot-section.ts";
import { targetLine } from "./targets.ts";

/** By name, in the order in which they run. */
const sections: Record<string, Section> = { demand: demandSection, zero: zeroSection, spot: spotSection };

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("a whole number from 1 up is wanted");
  return value;
}

const command = new Command("scripts/bench/scale")
  .description(
    "Runs the real scaling, placing and routing against simulated hosts, engines and demand on virtual time (test/sim). Deterministic for a seed; seeds 1 to 60 chose the constants of `edge/scale` (101 to 127 were seen meanwhile), " +
      "the default ones are others. Figures are of the model, not of GPUs.",
  )
  .addArgument(new Argument("[sections...]", "what to run; all when none is named").choices(Object.keys(sections)))
  .option("--seeds <n>", "runs of each, whose means are shown", whole, 3)
  .option("--seed <n>", "the first seed", whole, 101)
  .option("--quick", "one seed and a shorter time")
  .option("--json <file>", "write all figures to this file")
  .parse();
const options = command.opts<{ seeds: number; seed: number; quick?: boolean; json?: string }>();
const named = command.args.length === 0 ? Object.keys(sections) : command.args;

const all: Record<string, unknown> = {};
let missed = false;
for (const name of named) {
  const section = sections[name];
  if (section === undefined) continue;
  const { text, targets, figures } = section({ seeds: Array.from({ length: options.quick === true ? 1 : options.seeds }, (_, i) => options.seed + i), quick: options.quick === true, say: (line) => process.stderr.write(`${line}\n`) });
  all[name] = { figures, targets };
  missed ||= targets.some(({ met }) => !met);
  process.stdout.write(`${text}\n\n${targets.map(targetLine).join("\n")}\n\n`);
}
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ takenAt: new Date().toISOString(), seeds: options.seeds, seed: options.seed, quick: options.quick === true, sections: all }, undefined, 2)}\n`);
if (missed) process.stdout.write("some targets were missed\n");
