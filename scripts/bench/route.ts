/** The benchmark of a routing decision: `scripts/bench/route --help`. */
import { hash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { Observed } from "../../edge/route/observed.ts";
import { promptHashes } from "../../edge/route/prefix.ts";
import { requestFacts } from "../../edge/route/request.ts";
import { route, type RouteFacts } from "../../edge/route/route.ts";
import { routeServiceSchema, strategies, type RouteService, type Strategy } from "../../schema/bundle.ts";
import { seeded } from "../../schema/clock.ts";
import { quantile } from "./quantile.ts";
import { figure, table } from "./table.ts";
import { targetLine, type Target } from "./targets.ts";

const now = 1_800_000_000_000;
const promptBytes = 32 * 1024;
/** Of each part: the engine's compilers have done their work by then. */
const warmUpMs = 300;

/** Of one part: the best of its rounds' medians, which is that of a round in which nobody else used the machine; as its 99th percentile is. */
interface Timing {
  part: string;
  p50Us: number;
  p99Us: number;
  /** Its best median × the yardstick's. */
  ratio: number;
}

/**
 * A fixed piece of work that every machine can be told by: SHA-256 of 32 KB. It is native, so that no tier of the JavaScript engine is in it. On
 * the machine for which the bounds were set it took 24 µs (facts/cloudflare.md, "What things cost", small things).
 */
const yardstick = { part: "yardstick: SHA-256 of 32 KB", us: 24 };

/** Upper bounds, in µs: where the yardstick takes 24 of them, and in proportion elsewhere. */
const targets: { part: string; us: number }[] = [
  ...strategies.map((strategy) => ({ part: `pick of 100, ${strategy}`, us: 15 })),
  ...strategies.map((strategy) => ({ part: `pick of 10,000, ${strategy}`, us: 250 })),
  { part: "chained hash of 32 KB", us: 15 },
];

function serviceOf(strategy: Strategy): RouteService {
  const price = { inputMicroUsd: 200_000, cachedInputMicroUsd: 100_000, outputMicroUsd: 600_000 };
  return routeServiceSchema.parse({
    name: "chat", version: 1, models: ["chat"], listed: true, createdAt: 0, selfHosted: true, timeouts: { ttftMs: 1, totalMs: 1 }, bodyBytesMax: 1,
    providers: [
      { name: "first", endpoint: "https://a.example/v1", dialect: "openai", weight: 10, price },
      { name: "second", endpoint: "https://b.example/v1", dialect: "openai", weight: 20, fallback: true, price },
    ],
    replicas: { name: "gpus", weight: 70 },
    routing: { strategy, fallbackChain: ["gpus", "first", "second"] },
  });
}

/** A fleet in which one in twenty may not be used, and one in fifty does not say how loaded it is. */
function fleet(size: number): RouteFacts["replicas"] {
  const random = seeded(size);
  return Array.from({ length: size }, (_, number) => ({
    takenAt: now - 1_000,
    replica: {
      id: `chat.local.${number}`, service: "chat", number, version: 1, phase: number % 20 === 0 ? ("starting" as const) : ("ready" as const), host: `h${number}`, since: 0, inFlight: 4,
      ...(number % 50 === 1 ? {} : { load: { running: Math.floor(random() * 12), queueDepth: Math.floor(random() * 3), kvUsage: random() * 0.9 } }),
    },
    host: { id: `h${number}`, relays: [0, 1], heardAt: now - Math.floor(random() * 6_000), linkUp: true, draining: false },
  }));
}

/** Text of a request, 32 KB of it, the last of it `turn`. */
function bodyOf(turn: number): Record<string, unknown> {
  const system = "You answer questions about the tides of the northern seas. ".repeat(140);
  const told = "It is high water at the second bell, and the ferry goes at the third. ".repeat(340);
  return { model: "chat", stream: true, messages: [{ role: "system", content: system }, { role: "user", content: (told + system).slice(0, promptBytes - system.length - 40) }, { role: "user", content: `And at bell ${turn}?` }] };
}

/** A pick with everything on: breakers, slow start, what an isolate has seen of up to a thousand replicas, a prompt with known blocks. */
function pickPart(size: number, strategy: Strategy): () => number {
  const random = seeded(7);
  const observed = new Observed();
  const replicas = fleet(size);
  const blocked = new Map<string, string>();
  const request = requestFacts(bodyOf(0), promptBytes, "acct_1");
  const hashes = request.prefix.length;
  for (const [i, { replica }] of replicas.entries()) {
    if (i >= 1_000) break;
    if (i % 25 === 0) blocked.set(replica.id, "its breaker is open");
    observed.started(replica.id, now - 500, i % 10 === 0 ? request : undefined);
    observed.firstByte(replica.id, 100 + random() * 400, now - 300);
    if (i % 3 > 0) observed.ended(replica.id, now - 200);
  }
  const facts: RouteFacts = { service: serviceOf(strategy), replicas, request, observed, blocked, pressure: (id) => (id.endsWith("7") ? 0.5 : 1) };
  return () => route(facts, random, now).candidates.length + hashes;
}

/** From the parsed body to the decision, as for each request: the prompt hashed, the pick made, the attempt remembered. */
function wholePart(size: number): () => number {
  const random = seeded(11);
  const observed = new Observed();
  const replicas = fleet(size);
  const service = serviceOf("prefix_affinity");
  const bodies = Array.from({ length: 64 }, (_, turn) => bodyOf(turn));
  let turn = 0;
  return () => {
    const request = requestFacts(bodies[turn++ % bodies.length] ?? {}, promptBytes, "acct_1");
    const id = route({ service, replicas, request, observed }, random, now).candidates[0]?.id ?? "";
    observed.started(id, now, request);
    observed.firstByte(id, 200, now);
    observed.ended(id, now);
    return id.length;
  };
}

function parts(): [string, () => number][] {
  const body = bodyOf(1);
  const bytes = new TextEncoder().encode(JSON.stringify(body)).slice(0, promptBytes);
  return [
    [yardstick.part, () => hash("sha256", bytes, "buffer").length],
    ["chained hash of 32 KB", () => promptHashes(body, "acct_1").chain.length],
    ...[100, 10_000].flatMap((size) => strategies.map((strategy): [string, () => number] => [`pick of ${size.toLocaleString("en")}, ${strategy}`, pickPart(size, strategy)])),
    ["whole path of 32 KB over 100", wholePart(100)],
    ["whole path of 32 KB over 10,000", wholePart(10_000)],
  ];
}

/** Time each call; the sum of what is returned keeps the work from being optimised away. */
function time(work: () => number, ms: number): { us: number[]; sum: number } {
  let sum = 0;
  const us: number[] = [];
  for (const until = performance.now() + ms; performance.now() < until; ) {
    const began = performance.now();
    sum += work();
    us.push((performance.now() - began) * 1_000);
  }
  return { us, sum };
}

/** All parts in turn, the yardstick among them, in short rounds: of many, some of each are undisturbed. */
function timeAll(all: [string, () => number][], rounds: number, ms: number): Timing[] {
  for (const [, work] of all) time(work, warmUpMs);
  const seen = all.map(([part]) => ({ part, p50Us: Number.POSITIVE_INFINITY, p99Us: Number.POSITIVE_INFINITY }));
  for (let round = 0; round < rounds; round++) {
    for (const [i, [, work]] of all.entries()) {
      const { us } = time(work, ms);
      const one = seen[i] as (typeof seen)[number];
      one.p50Us = Math.min(one.p50Us, quantile(us, 0.5));
      one.p99Us = Math.min(one.p99Us, quantile(us, 0.99));
    }
  }
  const [measure] = seen;
  return seen.map((one) => ({ ...one, ratio: one.p50Us / (measure?.p50Us ?? Number.NaN) }));
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("a whole number from 1 up is wanted");
  return value;
}

const command = new Command("scripts/bench/route")
  .description(
    "Times the parts of a routing decision in this Node: the hash of a prompt, the pick among 100 and 10,000 replicas by each strategy with every filter and score on, and both together. " +
      "Single calls after a warm-up, all parts in turn in short rounds, of whose medians the best counts: others may use the machine too. Targets are judged by the ratio to a fixed piece of work, which a slow machine slows as much.",
  )
  .option("--ms <n>", "how long each part is timed in each round", positive, 10)
  .option("--rounds <n>", "how often all parts are timed", positive, 50)
  .option("--json <file>", "write machine, timings and targets to this file")
  .parse();
const options = command.opts<{ ms: number; rounds: number; json?: string }>();

const timings = timeAll(parts(), options.rounds, options.ms);
const judged = targets.map(({ part, us }): Target => {
  const timing = timings.find((one) => one.part === part);
  const most = us / yardstick.us;
  const ratio = timing?.ratio ?? Number.NaN;
  return { text: `${part} < ${us} us, ${most.toFixed(2)} x the yardstick; ${figure(timing?.p50Us ?? Number.NaN, 1)} us here`, measured: ratio, unit: " x", met: ratio < most };
});
process.stdout.write(`${cpus()[0]?.model ?? "unknown CPU"}, node ${process.version}; us a call\n`);
process.stdout.write(`${table(["part", "best median", "best p99", "x yardstick"], timings.map(({ part, p50Us, p99Us, ratio }) => [part, figure(p50Us, 2), figure(p99Us, 2), figure(ratio, 3)]))}\n\n${judged.map(targetLine).join("\n")}\n`);
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ takenAt: new Date().toISOString(), machine: { cpu: cpus()[0]?.model, node: process.version }, rounds: options.rounds, timings, targets: judged }, undefined, 2)}\n`);
