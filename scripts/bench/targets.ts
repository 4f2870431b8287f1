import { mainConnections, type Answers, type AnswersSample } from "./answers.ts";
import { memoryGrowth, type MemoryReading } from "./memory-run.ts";
import { rssPerStreamKiB, type OpenSample } from "./open.ts";
import { medianAgainst, medianOf, ratio, type Rounds } from "./rounds.ts";

/** What the router is held to, and what this run says of it. */
export interface Target {
  text: string;
  /** NaN where this run has not measured it. */
  measured: number;
  unit: string;
  met: boolean;
}

/** CPU and requests/s, of the router against bare workerd and Portkey at 32 connections, round by round. */
export function answerTargets(answers: Answers | undefined): Target[] {
  const rounds: Rounds<AnswersSample> = answers?.get(mainConnections) ?? new Map();
  const cpu = medianAgainst(rounds, "fairlead", "workerd", (s) => s.cpuUsPerRequest, ratio);
  const speed = medianAgainst(rounds, "fairlead", "portkey", (s) => s.requestsPerS, ratio);
  return [
    { text: "CPU per request <= 1.5x bare workerd", measured: cpu, unit: "x", met: cpu <= 1.5 },
    { text: "requests/s >= 2.5x Portkey", measured: speed, unit: "x", met: speed >= 2.5 },
  ];
}

/** Resident memory of the router for one more watched stream; bare workerd takes some 83 KB (facts/cloudflare.md). */
export function openTarget(open: Rounds<OpenSample> | undefined): Target {
  const perStreamKiB = medianOf(open ?? new Map<string, OpenSample[]>(), "fairlead", rssPerStreamKiB);
  return { text: "memory per open stream <= 120 KB", measured: perStreamKiB, unit: " KB", met: perStreamKiB <= 120 };
}

export function memoryTarget(name: string, readings: MemoryReading[]): Target {
  const { of, share, grew } = memoryGrowth(readings);
  const requests = readings.at(-1)?.requests.toLocaleString("en");
  return { text: `no growth of the ${of} of ${name} over ${requests} requests (over the last third; within 5 % or 128 KiB)`, measured: share * 100, unit: " %", met: !grew };
}

export function targetLine({ text, measured, unit, met }: Target): string {
  const seen = Number.isFinite(measured) ? `measured ${measured.toFixed(2)}${unit}: ${met ? "met" : "missed"}` : "not measured in this run";
  return `target ${text}: ${seen}`;
}
