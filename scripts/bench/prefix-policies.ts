/** The policies that `scripts/bench/prefix` compares. */
import { Observed } from "../../edge/route/observed.ts";
import { mix } from "../../edge/route/prefix.ts";
import type { RequestFacts } from "../../edge/route/request.ts";
import { route, type RouteFacts } from "../../edge/route/route.ts";
import { routeServiceSchema } from "../../schema/bundle.ts";
import { seeded, type Random } from "../../schema/clock.ts";
import { blockTokens, type Engine, type SimRequest } from "./prefix-fleet.ts";

export interface Policy {
  pick: (request: SimRequest, now: number) => number;
  firstByte?: (engine: number, request: SimRequest, ttftMs: number, now: number) => void;
  ended?: (engine: number, request: SimRequest, now: number) => void;
}

/** Counts exactly what is in flight: what one router that all requests pass knows. */
function counting(engines: number, choose: (request: SimRequest, inFlight: readonly number[]) => number): Policy {
  const inFlight = Array.from({ length: engines }, () => 0);
  const add = (engine: number, by: number): void => {
    inFlight[engine] = (inFlight[engine] ?? 0) + by;
  };
  return {
    pick: (request) => {
      const engine = choose(request, inFlight);
      add(engine, 1);
      return engine;
    },
    ended: (engine) => add(engine, -1),
  };
}

/** Least in flight, ties at random. */
function least(inFlight: readonly number[], random: Random): number {
  const min = Math.min(...inFlight);
  const alike = inFlight.flatMap((count, engine) => (count === min ? [engine] : []));
  return alike[Math.floor(random() * alike.length)] ?? 0;
}

/** KubeAI's: consistent hashing of the conversation with bounded load, mean × 1.25. */
function hashed(engines: number): Policy {
  return counting(engines, ({ conversation }, inFlight) => {
    const bound = ((inFlight.reduce((sum, count) => sum + count, 0) + 1) / engines) * 1.25;
    const ring = inFlight.map((_, engine) => engine).sort((a, b) => (mix(a + 1, conversation) >>> 0) - (mix(b + 1, conversation) >>> 0));
    return ring.find((engine) => (inFlight[engine] ?? 0) <= bound) ?? ring[0] ?? 0;
  });
}

/** SMG's cache_aware with its gateway's defaults: threshold 0.3, imbalance 64 and 1.5 (facts/routing-and-scaling.md §2); its tree forgets nothing here. */
function tree(engines: number, random: Random): Policy {
  const given = new Map<number, Set<number>>();
  return counting(engines, ({ chain }, inFlight) => {
    let engine = least(inFlight, random);
    const [max, min] = [Math.max(...inFlight), Math.min(...inFlight)];
    if (!(max - min > 64 && max > 1.5 * min)) {
      let matched = chain.length;
      while (matched > 0 && !given.has(chain[matched - 1] as number)) matched--;
      const holders = [...(given.get(chain[matched - 1] as number) ?? [])];
      if (matched / chain.length > 0.3 && holders.length > 0) engine = holders[0] as number;
    }
    for (const hash of chain) given.set(hash, (given.get(hash) ?? new Set()).add(engine));
    return engine;
  });
}

const hub = { heartbeatMs: 5_000, snapshotMs: 1_000 };

/** Ours: the router's own `route`, on snapshots each second of heartbeats each five; so many isolates that share nothing. */
function ours(strategy: "prefix_affinity" | "least_load", fleet: readonly Engine[], isolates: number, random: Random): Policy {
  const service = routeServiceSchema.parse({ name: "s", version: 1, models: ["m"], listed: true, createdAt: 0, providers: [], selfHosted: true, timeouts: { ttftMs: 1, totalMs: 1 }, bodyBytesMax: 1, routing: { strategy } });
  const observed = Array.from({ length: isolates }, () => new Observed());
  const sentBy = new Map<SimRequest, { own: Observed; id: string }>();
  const readings = fleet.map((_, engine) => ({ at: -engine * (hub.heartbeatMs / fleet.length), running: 0, queueDepth: 0 }));
  let replicas: RouteFacts["replicas"] = [];
  let takenAt = Number.NEGATIVE_INFINITY;
  const refresh = (now: number): void => {
    if (now - takenAt < hub.snapshotMs) return;
    takenAt = now;
    for (const [engine, reading] of readings.entries()) {
      const { running = 0, queued = 0 } = fleet[engine] ?? {};
      if (now - reading.at >= hub.heartbeatMs) Object.assign(reading, { at: now, running, queueDepth: queued });
    }
    replicas = readings.map(({ at, running, queueDepth }, number) => ({
      takenAt,
      replica: { id: `s.local.${number}`, service: "s", number, version: 1, phase: "ready" as const, host: `h${number}`, since: 0, inFlight: running, load: { running, queueDepth } },
      host: { id: `h${number}`, relays: [0], heardAt: at, linkUp: true, draining: false },
    }));
  };
  return {
    pick: (request, now) => {
      refresh(now);
      const own = observed[Math.floor(random() * isolates)] as Observed;
      const facts: RequestFacts = { account: "a", promptTokens: request.promptTokens, maxTokens: request.outputTokens, stream: true, prefix: request.chain, conversation: request.conversation, continues: request.continues, hashed: true, session: undefined };
      const [candidate] = route({ service, replicas, request: facts, observed: own }, random, now).candidates;
      const id = candidate?.id ?? "s.local.0";
      own.started(id, now, facts);
      sentBy.set(request, { own, id });
      return Number(id.split(".")[2]);
    },
    firstByte: (_, request, ttftMs, now) => {
      const sent = sentBy.get(request);
      sent?.own.firstByte(sent.id, ttftMs, now);
    },
    ended: (_, request, now) => {
      const sent = sentBy.get(request);
      sent?.own.ended(sent.id, now);
      sentBy.delete(request);
    },
  };
}

/** By name; those of ours are judged by all that know everything. Of four isolates that share nothing each sees a quarter of the requests. */
export const policies: Record<string, (fleet: readonly Engine[], seed: number) => Policy> = {
  "prefix_affinity": (fleet, seed) => ours("prefix_affinity", fleet, 1, seeded(seed)),
  "prefix_affinity, 4 isolates": (fleet, seed) => ours("prefix_affinity", fleet, 4, seeded(seed)),
  "least_load, ours": (fleet, seed) => ours("least_load", fleet, 1, seeded(seed)),
  "least_load, ours, 4 isolates": (fleet, seed) => ours("least_load", fleet, 4, seeded(seed)),
  "least_load": (fleet, seed) => {
    const random = seeded(seed);
    return counting(fleet.length, (_, inFlight) => least(inFlight, random));
  },
  "two choices": (fleet, seed) => {
    const random = seeded(seed);
    return counting(fleet.length, (_, inFlight) => {
      const a = Math.floor(random() * fleet.length);
      const b = (a + 1 + Math.floor(random() * (fleet.length - 1))) % fleet.length;
      return (inFlight[a] ?? 0) <= (inFlight[b] ?? 0) ? a : b;
    });
  },
  "round_robin": (fleet) => {
    let turn = 0;
    return { pick: () => turn++ % fleet.length };
  },
  "round_robin, 4 isolates": (fleet, seed) => {
    const random = seeded(seed);
    const turns = Array.from({ length: 4 }, () => Math.floor(random() * fleet.length));
    return {
      pick: () => {
        const isolate = Math.floor(random() * turns.length);
        return (turns[isolate] = (turns[isolate] as number) + 1) % fleet.length;
      },
    };
  },
  "hash, bounded load": (fleet) => hashed(fleet.length),
  "tree, SGLang's": (fleet, seed) => tree(fleet.length, seeded(seed)),
};

/** Blocks of so many tokens that nobody else has, behind others. */
export function blocksOf(before: readonly number[], tokens: number, random: Random): number[] {
  const chain = [...before];
  for (let i = 0; i < Math.floor(tokens / blockTokens); i++) chain.push(mix(chain.at(-1) ?? 0, (random() * 2 ** 32) | 0));
  return chain;
}
