import type { Bench } from "./bench.ts";
import { cpuMsOf } from "./cpu.ts";
import { generate } from "./generate.ts";
import type { Lineup, Started } from "./lineup.ts";
import type { ClosedJob, ClosedResult } from "./load-closed.ts";
import { medianOf, takeTurns, warmUp, type Rounds } from "./rounds.ts";
import { runWrk } from "./wrk.ts";

export const connectionCounts = [1, 32, 256] as const;
export type ConnectionCount = (typeof connectionCounts)[number];
/** The count for which the targets are set and from which the paced rate is taken. */
export const mainConnections = 32;

/** One run of whole answers in a closed loop. */
export interface AnswersSample {
  requestsPerS: number;
  /** User and system time of the proxy; NaN for the upstream directly. */
  cpuUsPerRequest: number;
  /** Share of its core that the proxy used, 0..1; well below 1, something else was the limit. */
  proxyCore: number;
  p50Ms: number;
  p99Ms: number;
  errors: number;
}

export type Answers = Map<ConnectionCount, Rounds<AnswersSample>>;

async function run(bench: Bench, { running }: Started, connections: number, seconds: number): Promise<AnswersSample> {
  const job = { kind: "closed", url: running.url, headers: running.headers, connections, seconds } satisfies ClosedJob;
  const beforeMs = cpuMsOf(running.pids);
  const result = bench.wrk ? await runWrk(bench.wrk, job, { workDir: bench.workDir, cpu: bench.cores.load }) : await generate<ClosedResult>(bench, job);
  const cpuMs = running.pids.length > 0 ? cpuMsOf(running.pids) - beforeMs : Number.NaN;
  if (result.requests === 0) throw new Error(`none of its answers was good (${result.errors} errors)`);
  return {
    requestsPerS: (result.requests / result.durationMs) * 1_000,
    cpuUsPerRequest: (cpuMs / result.requests) * 1_000,
    proxyCore: cpuMs / result.durationMs,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    errors: result.errors,
  };
}

/** A slow proxy is given long enough for three answers on each connection, though not more than five times the usual. */
function secondsFor(requestsPerS: number, connections: number, usual: number): number {
  const wanted = Math.ceil((3 * connections) / requestsPerS);
  return Number.isFinite(wanted) ? Math.min(Math.max(usual, wanted), 5 * usual) : usual;
}

export async function measureAnswers(bench: Bench, lineup: Lineup, started: Started[]): Promise<Answers> {
  const { seconds } = bench.options;
  const warm = await warmUp(bench, lineup, started, "answers", (one) => run(bench, one, mainConnections, Math.max(1, Math.round(seconds / 2))));
  const answers: Answers = new Map();
  for (const connections of connectionCounts) {
    const rounds = await takeTurns(bench, lineup, started, `answers, ${connections} connections`, (one) =>
      run(bench, one, connections, secondsFor(medianOf(warm, one.name, (s) => s.requestsPerS), connections, seconds)),
    );
    answers.set(connections, rounds);
  }
  return answers;
}
