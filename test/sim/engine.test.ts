import { expect, test } from "vitest";
import { Agenda } from "./agenda.ts";
import { SimEngine, type EngineModel, type Job } from "./engine.ts";

const model: EngineModel = { prefillTokensPerMs: 8, chunkTokens: 512, decodeMs: { alone: 30, full: 60 }, slots: 4, kvTokens: 10_000 };

/** Requests put to an engine at their times; when each had its first token and its last. */
function served(requests: readonly (Partial<Job> & { at: number })[], of: Partial<EngineModel> = {}): { engine: SimEngine; first: number[]; last: number[]; cut: number[] } {
  const agenda = new Agenda();
  const engine = new SimEngine(agenda, { ...model, ...of });
  const [first, last, cut]: [number[], number[], number[]] = [[], [], []];
  for (const [i, { at, ...job }] of requests.entries()) {
    agenda.add(at, (now) => engine.take({ promptTokens: 800, outputTokens: 11, chain: [], begins: (when) => (first[i] = when), ends: (when) => (last[i] = when), cut: (when) => (cut[i] = when), ...job }, now));
  }
  agenda.run();
  return { engine, first, last, cut };
}

test("a request alone: its prompt at the engine's speed, then a token each step", () => {
  const { first, last } = served([{ at: 0 }]);
  expect(first[0]).toBeCloseTo(100, 1);
  expect(last[0]).toBeCloseTo(100 + 10 * 30, 1);
});

test("prompts are read one after the other, and while one is read those that run get a token for each chunk", () => {
  const { first, last } = served([{ at: 0, outputTokens: 101 }, { at: 100, promptTokens: 5_120, outputTokens: 2 }]);
  // ten chunks of 64 ms, each with a step of 30 ms for the one that runs
  expect(first[1]).toBeCloseTo(100 + 10 * (64 + 30), 0);
  expect(last[0]).toBeGreaterThan(100 + 100 * 30 + 10 * 64 - 1);
});

test.each([
  ["slots", {}, 5],
  ["KV cache", { slots: 100, kvTokens: 4 * 811 }, 5],
])("what finds no room in the %s waits until one is done", (_what, of, count) => {
  const { first, last } = served(Array.from({ length: count }, () => ({ at: 0 })), of);
  const firstDone = Math.min(...last);
  expect(first[4]).toBeGreaterThanOrEqual(firstDone + 100 - 1);
  expect(first.slice(0, 4).every((at) => at < firstDone)).toBe(true);
});

test("a prompt whose beginning was read before is read sooner, until it was evicted", () => {
  const chain = [1, 2, 3, 4, 5];
  const { engine, first } = served([{ at: 0, chain }, { at: 10_000, chain }, { at: 20_000, promptTokens: 9_900, chain: Array.from({ length: 77 }, (_, i) => 100 + i) }, { at: 30_000, chain }]);
  expect((first[1] as number) - 10_000).toBeCloseTo((800 - 5 * 128) / 8, 1);
  expect((first[3] as number) - 30_000).toBeCloseTo(100, 1);
  expect(engine.tokens.hit).toBe(5 * 128);
});

test("an engine that is stopped says what it had written of each", () => {
  const agenda = new Agenda();
  const engine = new SimEngine(agenda, model);
  const written: number[] = [];
  const job = (tokens: number): Job => ({ promptTokens: 800, outputTokens: tokens, chain: [], begins: () => undefined, ends: () => undefined, cut: (_at, count) => written.push(count) });
  agenda.add(0, (now) => engine.take(job(1_000), now));
  agenda.add(100 + 10 * 30, (now) => engine.take(job(10), now));
  agenda.add(100 + 10 * 30 + 1, (now) => engine.stop(now));
  agenda.run();
  expect(written).toEqual([11, 0]);
  expect(engine.load()).toMatchObject({ running: 0, queueDepth: 0 });
});
