/** The workloads of `scripts/bench/prefix` (facts/routing-and-scaling.md §9), scaled to a fleet of eight. */
import { seeded, type Random } from "../../schema/clock.ts";
import type { SimRequest } from "./prefix-fleet.ts";
import { blocksOf } from "./prefix-policies.ts";

const exponential = (mean: number, random: Random): number => -Math.log(1 - random()) * mean;

/** Requests that arrive one by one, each with a prompt of its own behind a shared one. */
function shared({ groups, requests, ratePerS, systemTokens, ownTokens, outputTokens }: { groups: number; requests: number; ratePerS: number; systemTokens: number; ownTokens: number; outputTokens: number }, random: Random): SimRequest[] {
  const systems = Array.from({ length: groups }, () => blocksOf([], systemTokens, random));
  let at = 0;
  return Array.from({ length: requests }, () => {
    at += exponential(1_000 / ratePerS, random);
    const system = systems[Math.floor(random() * groups)] ?? [];
    return { arrivesAt: at, chain: blocksOf(system, ownTokens, random), promptTokens: systemTokens + ownTokens, outputTokens, conversation: (random() * 2 ** 32) | 0, continues: false };
  });
}

/** Conversations with a shared system prompt; each turn adds what was answered and what is asked next. */
function conversations({ users, rounds, startsPerS, systemTokens, turnTokens, outputTokens, thinkMs }: { users: number; rounds: number; startsPerS: number; systemTokens: number; turnTokens: number; outputTokens: number; thinkMs: number }, random: Random): SimRequest[] {
  const system = blocksOf([], systemTokens, random);
  let at = 0;
  return Array.from({ length: users }, () => {
    at += exponential(1_000 / startsPerS, random);
    const conversation = (random() * 2 ** 32) | 0;
    const own = seeded(conversation);
    const turn = (round: number, arrivesAt: number, before: readonly number[]): SimRequest => {
      const chain = blocksOf(before, turnTokens, own);
      return {
        arrivesAt, chain, promptTokens: systemTokens + (round + 1) * turnTokens, outputTokens, conversation, continues: round > 0,
        next: (doneAt) => (round + 1 < rounds ? turn(round + 1, doneAt + exponential(thinkMs, own), chain) : undefined),
      };
    };
    return turn(0, at, system);
  });
}

/** By name, from a seed. */
export const workloads: Record<string, (random: Random) => SimRequest[]> = {
  "multi-turn: 160 users x 10 rounds, 1,000 system + 1,024 a round, 100 out": (random) => conversations({ users: 160, rounds: 10, startsPerS: 4, systemTokens: 1_000, turnTokens: 1_024, outputTokens: 100, thinkMs: 4_000 }, random),
  "shared system prompt: 64 groups, 2,048 + 128, 256 out, 20/s": (random) => shared({ groups: 64, requests: 4_000, ratePerS: 20, systemTokens: 2_048, ownTokens: 128, outputTokens: 256 }, random),
  "long shared prefix: 150 groups, 6,000 + 1,200, 100 out, 12/s": (random) => shared({ groups: 150, requests: 3_000, ratePerS: 12, systemTokens: 6_000, ownTokens: 1_200, outputTokens: 100 }, random),
  "one system prompt for all: 4,096 + 256, 128 out, 40/s": (random) => shared({ groups: 1, requests: 4_000, ratePerS: 40, systemTokens: 4_096, ownTokens: 256, outputTokens: 128 }, random),
  "nothing shared: 2,048, 128 out, 30/s": (random) => shared({ groups: 1, requests: 4_000, ratePerS: 30, systemTokens: 0, ownTokens: 2_048, outputTokens: 128 }, random),
};
