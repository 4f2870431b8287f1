/** Spot placement on public traces, on virtual time: `scripts/bench/scale-spot --help`. */
import { Command, InvalidArgumentError } from "commander";
import { measureSpot, spotTables } from "./spot-measure.ts";
import { hasTraces, noTraces, usualTraces } from "./spot-traces.ts";

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("write a whole number from 1 on");
  return value;
}

const { traces, json, repeat, seed } = new Command("scripts/bench/scale-spot")
  .description("SpotHedge and Fairlead's default placer on the spot capacity that SpotHedge's authors recorded: the real place(), virtual time, the reference method.")
  .option("--traces <dir>", "folder with AWS1, AWS2, AWS3 and GCP1 (never part of this repository)", usualTraces)
  .option("--repeat <n>", "measurements of ten days each, of days like the table's and of any days", count, 3)
  .option("--seed <n>", "what chance begins with", count, 1)
  .option("--json", "the figures as JSON")
  .addHelpText("after", "\nExits with 1 when SpotHedge is further than a point from the table. Without traces it says so and exits with 0.")
  .parse()
  .opts<{ traces: string; json?: boolean; repeat: number; seed: number }>();

if (!hasTraces(traces)) console.log(noTraces(traces));
else {
  const figures = measureSpot({ traces, repeat, seed });
  console.log(json === true ? JSON.stringify({ repeat, seed, ...figures }, null, 2) : spotTables(figures));
  if (figures.missed.length > 0) process.exitCode = 1;
}
