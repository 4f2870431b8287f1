import { mainConnections, type Answers, type AnswersSample } from "./answers.ts";
import { memoryGrowth, type MemoryReading } from "./memory-run.ts";
import { rssPerStreamKiB, type OpenSample } from "./open.ts";
import { difference, medianAgainst, medianOf, ratio, type Rounds } from "./rounds.ts";
import type { Streams, StreamsSample } from "./streams.ts";

/** What the router is held to, and what this run says of it. */
export interface Target {
  text: string;
  /** NaN where this run has not measured it. */
  measured: number;
  unit: string;
  met: boolean;
  /** What the platform takes by itself in the same run. */
  floor?: { by: string; measured: number };
}

const target = (text: string, measured: number, unit: string, met: boolean, floor?: number): Target => ({ text, measured, unit, met, ...floorOf("a Worker that only reads", floor) });

/** @param measured NaN where this run has not measured it */
export const floorOf = (by: string, measured = Number.NaN): Pick<Target, "floor"> => (Number.isNaN(measured) ? {} : { floor: { by, measured } });

const atMost = (text: string, most: number, measured: number, unit = "x", floor?: number): Target => target(`${text} <= ${most}${unit}`, measured, unit, measured <= most, floor);
const atLeast = (text: string, least: number, measured: number): Target => target(`${text} >= ${least}x`, measured, "x", measured >= least);

/** CPU and requests/s, of the router against bare workerd and Portkey at 32 connections, round by round. */
export function answerTargets(answers: Answers | undefined): Target[] {
  const rounds: Rounds<AnswersSample> = answers?.get(mainConnections) ?? new Map();
  const cpu = (name: string): number => medianAgainst(rounds, name, "workerd", (s) => s.cpuUsPerRequest, ratio);
  const speed = (name: string): number => medianAgainst(rounds, "fairlead", name, (s) => s.requestsPerS, ratio);
  return [
    ...[1.5, 1.35].map((most) => atMost("CPU per request, of bare workerd's,", most, cpu("fairlead"), "x", cpu("workerd-reads"))),
    ...[2.5, 3].flatMap((least) => [
      atLeast("requests/s, of Portkey's in the Node of its image,", least, speed("portkey-image")),
      atLeast("requests/s, of Portkey's in the Node of this benchmark,", least, speed("portkey")),
    ]),
  ];
}

/** What watching a stream costs: against bare workerd, which passes it untouched, round by round. */
export function streamTargets(streams: Streams | undefined): Target[] {
  const paced: Rounds<StreamsSample> = streams?.get(10) ?? new Map();
  const unpaced: Rounds<StreamsSample> = streams?.get(0) ?? new Map();
  const chunk = (rounds: Rounds<StreamsSample>, name: string): number => medianAgainst(rounds, name, "workerd", (s) => s.cpuMsPer1000Chunks, ratio);
  const added = (name: string, ms: (sample: StreamsSample) => number): number => medianAgainst(paced, name, "direct", ms, difference);
  const ttftP99 = (name: string): number => added("fairlead", (s) => s.ttftP99Ms) / added(name, (s) => s.ttftP99Ms);
  return [
    atMost("CPU per chunk, paced, of bare workerd's,", 2, chunk(paced, "fairlead"), "x", chunk(paced, "workerd-reads")),
    atMost("CPU per chunk, unpaced, of bare workerd's,", 2, chunk(unpaced, "fairlead"), "x", chunk(unpaced, "workerd-reads")),
    atMost("added delay per chunk, paced, p50", 5, added("fairlead", (s) => s.gapP50Ms), " ms", added("workerd-reads", (s) => s.gapP50Ms)),
    atMost("added TTFT p99, of Portkey's in the Node of its image,", 0.1, ttftP99("portkey-image")),
    atMost("added TTFT p99, of Portkey's in the Node of this benchmark,", 0.1, ttftP99("portkey")),
  ];
}

/** Resident memory of the router for one more watched stream; bare workerd takes some 83 KB (facts/cloudflare.md). */
export function openTarget(open: Rounds<OpenSample> | undefined): Target {
  const perStreamKiB = (name: string): number => medianOf(open ?? new Map<string, OpenSample[]>(), name, rssPerStreamKiB);
  return atMost("memory per open stream", 120, perStreamKiB("fairlead"), " KB", perStreamKiB("workerd-reads"));
}

export function memoryTarget(name: string, readings: MemoryReading[]): Target {
  const { of, share, grew } = memoryGrowth(readings);
  const requests = readings.at(-1)?.requests.toLocaleString("en");
  return { text: `no growth of the ${of} of ${name} over ${requests} requests (over the last third; within 5 % or 128 KiB)`, measured: share * 100, unit: " %", met: !grew };
}

export function targetLine({ text, measured, unit, met, floor }: Target): string {
  const seen = Number.isFinite(measured) ? `measured ${measured.toFixed(2)}${unit}: ${met ? "met" : "missed"}` : "not measured in this run";
  return `target ${text}: ${seen}${floor === undefined ? "" : ` (${floor.by}: ${floor.measured.toFixed(2)}${unit})`}`;
}
