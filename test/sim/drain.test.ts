import { describe, expect, test } from "vitest";
import type { Asked } from "./demand.ts";
import { simulate, type Report } from "./simulate.ts";

const changeMs = 120_000;
const drainMs = 5_000;
/** 30 ms a token alone: a minute. */
const outputTokens = 2_000;
const promptTokens = 1_000;

/** Four long answers by two replicas, of which so many go on. */
function lived(hosts: number, left: number): Report {
  const fixed = (count: number) => ({ autoscaler: "fixed", min: count, max: count }) as const;
  const asked = Array.from({ length: 4 }, (_, i): Asked => ({ at: changeMs - 10_000 + i, promptTokens, outputTokens, chain: [] }));
  return simulate({
    seed: 1, untilMs: changeMs + 180_000,
    hosts: Array.from({ length: hosts }, (_, i) => ({ id: `host-${i}`, region: "weur", gpus: 1 })),
    services: [{ name: "chat", policy: fixed(hosts), coldStartMs: { p50: 15_000, p95: 20_000 }, drainMs, changes: [{ atMs: changeMs, policy: fixed(left) }] }],
    demand: { chat: () => asked },
  });
}

const matches = (lines: readonly string[], pattern: RegExp): number[][] => lines.flatMap((line) => {
  const found = pattern.exec(line);
  return found === null ? [] : [found.slice(1).map(Number)];
});

describe("an answer whose replica comes to the end of its time to drain", () => {
  test("goes on at another one from the tokens that its client has, which are read with its prompt, and has not failed", () => {
    const { outcomes: { chat }, lines } = lived(2, 1);
    expect(chat).toMatchObject({ asked: 4, answered: 4, failed: 0, refused: 0, cutByStop: 0, resumed: 2, drained: 2 });
    const cut = matches(lines, /cut a request, its time to drain being over: (\d+) tokens were written/).map(([written = 0]) => written);
    const legs = matches(lines, /goes on at \S+: (\d+) tokens to read, (\d+) to write/);
    expect(cut.every((written) => written > 300)).toBe(true);
    expect(legs).toEqual(cut.map((written) => [promptTokens + written, outputTokens - written]));
  });

  test("fails where nobody can go on with it, after one look for news: it is not held as one that has not begun", () => {
    const { outcomes: { chat }, lines } = lived(2, 0);
    expect(chat).toMatchObject({ asked: 4, answered: 0, failed: 4, refused: 0, cutByStop: 0, drained: 4 });
    const ends = matches(lines, /(\d+\.\d) s {2}a request failed/).map(([s = 0]) => s * 1000);
    expect(Math.max(...ends)).toBeLessThan(changeMs + drainMs + 10_000);
  });
});
