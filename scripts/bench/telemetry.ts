/** The benchmark of counting: `scripts/bench/telemetry --help`. */
import { cpus } from "node:os";
import { Command } from "commander";
import { Traffic } from "../../edge/hub/telemetry.ts";
import type { Decision } from "../../edge/route/route.ts";
import { Journey } from "../../edge/telemetry/journey.ts";
import { Tally } from "../../edge/telemetry/tally.ts";
import { routeServiceSchema } from "../../schema/bundle.ts";
import { toldSchema } from "../../schema/telemetry.ts";
import { quantile } from "./quantile.ts";
import { figure, table } from "./table.ts";

const service = routeServiceSchema.parse({
  name: "chat", version: 1, models: ["chat"], listed: true, createdAt: 0, selfHosted: true, timeouts: { ttftMs: 1, totalMs: 1 }, bodyBytesMax: 1,
  providers: [{ name: "vendor", endpoint: "https://a.example/v1", dialect: "openai" }],
});
const decision: Decision = { candidates: [], filtered: {}, scores: [{ id: "chat.local.1", total: 1, parts: { prefix: 0.5, load: 1 } }], strategy: "prefix_affinity", saturated: false };
const began = { attempts: [{ id: "chat.local.1", outcome: "answer" as const, ms: 9 }], by: { id: "chat.local.1", upstream: "replicas" }, status: 200, fallback: false };
/** An answer of 600 bytes, as the benchmarks of whole requests have it. */
const body = new TextEncoder().encode(JSON.stringify({ id: "chatcmpl-1", choices: [{ index: 0, message: { role: "assistant", content: "x".repeat(330) }, finish_reason: "stop" }], usage: { prompt_tokens: 19, completion_tokens: 80, total_tokens: 99, prompt_tokens_details: { cached_tokens: 16 } } }));
const usage = { prompt_tokens: 19, completion_tokens: 80 };

const tally = new Tally();
const traffic = new Traffic();
let turn = 0;
let last = 0;

function fill(services: number): void {
  for (let i = 0; i < services; i++) {
    const seen = new Journey(tally, { ...service, name: `chat-${i}` }, 0);
    seen.began(began, decision, true, 40);
    seen.over(undefined, 900);
    seen.close({ usage });
  }
}

const parts: [string, string, () => void][] = [
  ["a request with a whole answer", "request", () => {
    const seen = new Journey(tally, service, 0);
    seen.began(began, decision, false, turn++ % 2_000);
    seen.close({ whole: body });
  }],
  ["a request with a stream, from arrival to end", "request", () => {
    const seen = new Journey(tally, service, 0);
    seen.began(began, decision, true, turn++ % 2_000);
    seen.over(undefined, 900);
    seen.close({ usage });
  }],
  ["a chunk of a stream that is timed (one in eight): clock and count", "chunk", () => {
    const now = Date.now();
    tally.of("chat", "replicas").took("itl", now - last);
    last = now;
  }],
  ["a chunk of any other stream: a comparison", "chunk", () => {
    if (untimed.gaps !== undefined && untimed.progressed) untimed.gaps(Date.now());
  }],
  ["telling, isolate's part: 10 services, 20 cells", "telling", () => {
    fill(10);
    tally.drain();
  }],
  ["telling, hub's part: 10 services, 20 cells, checked and merged", "telling", () => traffic.merge(toldSchema.parse(told), turn++)],
];
const untimed: { gaps: ((now: number) => void) | undefined; progressed: boolean } = { gaps: undefined, progressed: true };
fill(10);
const told = { isolate: "one", cells: tally.drain(), inFlight: [], breakers: [] };

/** ns of CPU a call: the median of rounds, each long enough for its clock. CPU, because other work on the machine takes time too. */
function time(work: () => void, ms: number): number {
  const round = (calls: number): number => {
    const from = process.cpuUsage();
    for (let i = 0; i < calls; i++) work();
    const { user, system } = process.cpuUsage(from);
    return ((user + system) * 1e3) / calls;
  };
  let calls = 1_000;
  for (const until = performance.now() + ms / 2; performance.now() < until; ) round(calls);
  calls = Math.max(1, Math.round(2e7 / Math.max(1, round(calls))));
  const rounds: number[] = [];
  for (const until = performance.now() + ms; performance.now() < until; ) rounds.push(round(calls));
  return quantile(rounds, 0.5);
}

new Command("scripts/bench/telemetry").description("Times what counting costs a request, a chunk of a stream and a telling, in this Node: CPU, medians after a warm-up; use the proportions.").parse();
process.stdout.write(`${cpus()[0]?.model ?? "unknown CPU"}, node ${process.version}\n`);
process.stdout.write(`${table(["part", "ns", "per"], parts.map(([part, per, work]) => [part, figure(time(work, 1_000), 1), per]))}\n`);
