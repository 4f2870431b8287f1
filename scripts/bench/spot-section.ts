import type { Section } from "./scale-section.ts";
import { measureSpot, pointsFromTable, spotTables, withinPoints } from "./spot-measure.ts";
import { hasTraces, noTraces, setNames, usualTraces } from "./spot-traces.ts";

/** Spot placement on public traces, where they are. */
export const spotSection: Section = ({ seeds, quick, say }) => {
  if (!hasTraces(usualTraces)) return { text: noTraces(usualTraces), targets: [], figures: null };
  say("spot: a few minutes for each seed");
  const figures = measureSpot({ traces: usualTraces, repeat: quick ? 1 : seeds.length, seed: seeds[0] ?? 1 });
  const targets = setNames.map((set) => {
    const furthest = Math.max(...figures.cells.filter((cell) => cell.set === set).map(pointsFromTable));
    return { text: `SpotHedge within ${withinPoints} point of its table on ${set}`, measured: furthest, unit: " points", met: furthest <= withinPoints };
  });
  return { text: spotTables(figures), targets, figures };
};
