import { seeded, type Random } from "../../schema/clock.ts";
import { day, type DayResult, type SpotPolicy } from "./spot-day.ts";
import { evenSpread, onDemandOnly, placed, roundRobin } from "./spot-policies.ts";
import { readSet, setNames, type Capacity, type SetName } from "./spot-traces.ts";
import { figure, table } from "./table.ts";

/** Days in one measurement, of the method. */
const daysPerRun = 10;
/** How far a reproduced figure may be from the table's, in points. */
export const withinPoints = 1;

/** Availability and cost in per cent. */
type Figures = readonly [availability: number, cost: number];

interface Row {
  name: string;
  policy: SpotPolicy;
  /** An independent re-run of the authors' policies (README of the traces), by set. */
  told?: readonly [Figures, Figures, Figures, Figures];
  /** It is ours to reproduce. */
  reproduced?: boolean;
}

const rows: Row[] = [
  { name: "on demand only", policy: onDemandOnly, told: [[100, 100], [100, 100], [100, 100], [100, 100]] },
  { name: "Even Spread x0", policy: evenSpread(0), told: [[14, 14], [46.2, 22.7], [38.8, 23.5], [36.6, 23.7]] },
  { name: "Even Spread x1", policy: evenSpread(1), told: [[24.7, 18.8], [60.1, 30.3], [61, 30.3], [77.6, 32.3]] },
  { name: "Round Robin x0", policy: roundRobin(0), told: [[73.7, 25.9], [87.5, 30], [97.2, 32.9], [98.8, 33.2]] },
  { name: "Round Robin x1", policy: roundRobin(1), told: [[74.3, 34], [88, 39.8], [98.2, 43.9], [99, 43.7]] },
  { name: "SpotHedge x1, no on-demand", policy: placed("spothedge", 1, false), told: [[74.5, 34], [88.3, 39.9], [97.3, 43.5], [98.6, 43.7]] },
  { name: "SpotHedge x0", policy: placed("spothedge", 0), told: [[97.7, 49.2], [98.5, 40.9], [98.8, 35.4], [99.7, 34.8]], reproduced: true },
  { name: "SpotHedge x1", policy: placed("spothedge", 1), told: [[98.6, 59.9], [98.7, 51.6], [99.5, 46.5], [99.8, 46.2]], reproduced: true },
  { name: "SpotHedge x2", policy: placed("spothedge", 2), told: [[99.4, 78.8], [98.8, 62], [99.6, 57.9], [99.8, 58.5]], reproduced: true },
  { name: "Fairlead's default", policy: placed("default", 0) },
];

function shuffled<T>(list: readonly T[], random: Random): T[] {
  return list.map((one) => [random(), one] as const).toSorted((a, b) => a[0] - b[0]).map(([, one]) => one);
}

/** Where in the traces a day begins, and in which order the zones are. */
interface Day {
  from: number;
  zones: Capacity;
}

function dayAt(capacity: Capacity, from: number, random: Random): Day {
  return { from, zones: shuffled(capacity, random) };
}

/** The same days for each policy, chance of its own. */
function measure(days: readonly Day[], policy: SpotPolicy, seed: number): DayResult[] {
  return days.map(({ from, zones }, i) => day(zones, from, policy(zones.length, seeded(seed * 1_000 + i))));
}

function mean(results: readonly DayResult[], of: (result: DayResult) => number): number {
  return (100 * results.reduce((sum, one) => sum + of(one), 0)) / results.length;
}

function spreadOf(values: readonly number[]): number {
  const middle = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / values.length);
}

/**
 * Days like the table's. Ten days differ much from ten others (AWS1 by tens of points), and the re-run did not say which it drew; but Even
 * Spread and Round Robin choose nothing, so that their figures tell how much capacity those days had. Of many draws these are the ten days
 * whose figures under those four are nearest to the table's. What SpotHedge comes to is not looked at.
 */
function daysOfTheTable(name: SetName, capacity: Capacity, seed: number): Day[] {
  const set = setNames.indexOf(name);
  const judges = rows.filter(({ name: row }) => /^(Even|Round)/.test(row));
  const random = seeded(seed);
  const candidates = Array.from({ length: candidateDays }, (_, i) => dayAt(capacity, Math.floor(((capacity[0]?.length ?? 1) * i) / candidateDays), random));
  const figures = candidates.map((one) => judges.flatMap(({ policy }) => {
    const [{ availability, cost } = { availability: 0, cost: 0 }] = measure([one], policy, seed);
    return [100 * availability, 100 * cost];
  }));
  const told = judges.flatMap((row) => row.told?.[set] ?? []);
  let best: { far: number; days: number[] } | undefined;
  for (let draw = 0; draw < drawsMax; draw++) {
    const days = Array.from({ length: daysPerRun }, () => Math.floor(random() * candidateDays));
    const far = told.reduce((sum, value, i) => sum + (value - days.reduce((all, one) => all + (figures[one]?.[i] ?? 0), 0) / daysPerRun) ** 2, 0);
    if (best === undefined || far < best.far) best = { far, days };
  }
  return (best?.days ?? []).flatMap((index) => candidates[index] ?? []);
}

const candidateDays = 250;
const drawsMax = 30_000;

export interface Cell {
  policy: string;
  set: SetName;
  days: "the table's" | "any";
  availability: number;
  cost: number;
  none: number;
  /** Between measurements. */
  availabilitySpread: number;
  costSpread: number;
  /** What the table says. */
  told?: Figures;
}

/** How far a figure that is ours to reproduce is from the table's; 0 for others. */
export function pointsFromTable({ policy, told, availability, cost }: Cell): number {
  const isOurs = rows.some(({ name, reproduced }) => name === policy && reproduced === true);
  return told === undefined || !isOurs ? 0 : Math.max(Math.abs(availability - told[0]), Math.abs(cost - told[1]));
}

export interface SpotFigures {
  cells: Cell[];
  /** SpotHedge's that are further than a point from the table. */
  missed: Cell[];
}

/**
 * SpotHedge and Fairlead's default placer by the reference method: the real `place`, virtual time.
 *
 * @param repeat measurements of ten days each, of days like the table's and of any days
 */
export function measureSpot({ traces, repeat, seed }: { traces: string; repeat: number; seed: number }): SpotFigures {
  const cells: Cell[] = [];
  for (const [set, name] of setNames.entries()) {
    const capacity = readSet(traces, name);
    const like = daysOfTheTable(name, capacity, seed);
    for (const days of ["the table's", "any"] as const) {
      for (const { name: policy, policy: one, told } of rows) {
        const measured = Array.from({ length: repeat }, (_, i) => {
          const random = seeded(seed * 100 + i);
          const drawn = days === "any" ? Array.from({ length: daysPerRun }, () => dayAt(capacity, Math.floor(random() * (capacity[0]?.length ?? 1)), random)) : like;
          return measure(drawn, one, seed * 100 + i);
        });
        cells.push({
          policy, set: name, days,
          availability: mean(measured.flat(), ({ availability }) => availability), cost: mean(measured.flat(), ({ cost }) => cost), none: mean(measured.flat(), ({ none }) => none),
          availabilitySpread: spreadOf(measured.map((results) => mean(results, ({ availability }) => availability))), costSpread: spreadOf(measured.map((results) => mean(results, ({ cost }) => cost))),
          ...(told === undefined || days === "any" ? {} : { told: told[set] as Figures }),
        });
      }
    }
  }
  const missed = cells.filter((cell) => pointsFromTable(cell) > withinPoints);
  return { cells, missed };
}

/** As two tables. */
export function spotTables({ cells, missed }: SpotFigures): string {
  const lines: string[] = [];
  for (const days of ["the table's", "any"] as const) {
    lines.push(`${days === "any" ? "Any days" : "Days like the table's"}: availability % / cost % of on demand${days === "any" ? " ± between measurements" : " (what the table says)"}; none: % of time without any replica ready`);
    const shown = rows.map(({ name }) => [name, ...setNames.flatMap((set) => {
      const cell = cells.find((one) => one.policy === name && one.set === set && one.days === days);
      if (cell === undefined) return ["-", "-"];
      const { availability, cost, none, told, availabilitySpread, costSpread } = cell;
      const beside = told === undefined ? (days === "any" ? ` ±${figure(availabilitySpread, 1)}/${figure(costSpread, 1)}` : "") : ` (${figure(told[0], 1)}/${figure(told[1], 1)})`;
      return [`${figure(availability, 1)}/${figure(cost, 1)}${beside}`, figure(none, 2)];
    })]);
    lines.push(table(["policy", ...setNames.flatMap((set) => [set, "none"])], shown), "");
  }
  lines.push(missed.length === 0 ? `SpotHedge is within ${withinPoints} point of the table, all of it.` : `SpotHedge is further than ${withinPoints} point from the table: ${missed.map(({ policy, set }) => `${policy} on ${set}`).join(", ")}.`);
  return lines.join("\n");
}
