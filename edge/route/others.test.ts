import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { routeServiceSchema } from "../../schema/bundle.ts";
import { seeded } from "../../schema/clock.ts";
import type { ReplicaRow } from "./candidates.ts";
import { Field } from "./field.ts";
import { Observed } from "./observed.ts";
import { bringUp, levelOf } from "./others.ts";
import { poolOf } from "./pool.ts";
import { route } from "./route.ts";

const readAt = 1_000_000;
const unknown = Number.NaN;

const service = routeServiceSchema.parse({ name: "chat", version: 1, models: ["chat"], listed: true, createdAt: 0, selfHosted: true, timeouts: { ttftMs: 1, totalMs: 1 }, bodyBytesMax: 1, providers: [], routing: { strategy: "least_load" } });

/** Replicas with so much on them, by readings so old at `now`; NaN: it does not say, while others do. */
function rows(loads: readonly number[], now = readAt, agesMs: readonly number[] = []): ReplicaRow[] {
  return loads.map((running, number) => ({
    takenAt: now,
    replica: { id: `chat.local.${number}`, service: "chat", number, version: 1, phase: "ready", host: `h${number}`, since: 0, inFlight: 0, ...(Number.isNaN(running) ? {} : { load: { running, queueDepth: 0 } }) },
    host: { id: `h${number}`, relays: [0], heardAt: now - (agesMs[number] ?? 0), linkUp: true, draining: false },
  }));
}

/** What an isolate that has had nothing yet on any takes the loads to be, so many ms after they were read. */
function after(ageMs: number, loads: readonly number[], stayMs = 2_000): number[] {
  const pool = poolOf(rows(loads));
  const field = new Field();
  field.begin(pool, 0, loads.length, 0);
  field.enterSeen(Array.from({ length: loads.length }), stayMs, readAt + ageMs, false);
  return loads.map((_, number) => field.load[pool.indexOf.get(`chat.local.${number}`) as number] as number);
}

describe("levelOf()", () => {
  test.each<[string, number[], number, number]>([
    ["nothing sent leaves the lowest", [3, 1, 2], 0, 1],
    ["what is sent goes to the lowest first", [3, 1, 9], 1, 2],
    ["then to those that it has reached", [3, 1, 9], 4, 4],
    ["and to all when there is enough", [3, 1, 9], 17, 10],
    ["one that does not say takes nothing", [3, unknown, 1], 2, 3],
  ])("%s", (_, left, sent, level) => {
    expect(levelOf(Float32Array.from(left), sent, left.length)).toBeCloseTo(level, 5);
  });
});

describe("what others have on replicas by now", () => {
  test("is what was read, when it has just been read", () => {
    expect(after(0, [4, 0, 9])).toEqual([4, 0, 9]);
  });

  test.each<[string, number, number[], (now: number[]) => void]>([
    ["an idle one is not idle any more: all have seen it", 500, [6, 0, 6, 6], ([a, idle]) => expect([idle, a].map((one) => Math.round((one as number) * 10))).toEqual([36, 48])],
    ["those that others have levelled are exactly alike", 2_000, [6, 0, 5, 7], (now) => expect(new Set(now).size).toBe(1)],
    ["a busy one is left alone", 2_000, [2, 3, 40, 3], ([a, b, busy]) => expect([a === b, (busy as number) > 1.5 * (a as number)]).toEqual([true, true])],
    ["one that does not say is unknown still", 2_000, [2, unknown, 4], ([, none]) => expect(none).toBeNaN()],
  ])("%s", (_, ageMs, loads, holds) => holds(after(ageMs, loads)));

  test("is as much in sum as it was, and nobody overtakes another", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(60), { minLength: 1, maxLength: 40 }), fc.nat(20_000), fc.integer({ min: 1, max: 120_000 }), (loads, ageMs, stayMs) => {
        const now = after(ageMs, loads, stayMs);
        const sum = (all: readonly number[]): number => all.reduce((total, one) => total + one, 0);
        expect(Math.abs(sum(now) - sum(loads))).toBeLessThan(0.001 * (1 + sum(loads)));
        for (const [i, load] of loads.entries()) for (const [j, other] of loads.entries()) if (load < other) expect(now[i]).toBeLessThanOrEqual(now[j] as number);
      }),
      { numRuns: 300 },
    );
  });

  test("is nothing where one isolate sends all there is: its own count decides, however old the reading", () => {
    const observed = new Observed();
    for (const [number, count] of [5, 2, 7].entries()) for (let i = 0; i < count; i++) observed.started(`chat.local.${number}`, readAt - 10);
    const picks = Array.from({ length: 50 }, (_, seed) => route({ service, replicas: rows([5, 2, 7]), observed }, seeded(seed), readAt + 4_900).candidates[0]?.id);
    expect(new Set(picks)).toEqual(new Set(["chat.local.1"]));
  });

  test("changes nothing of a field that knows of no others", () => {
    const field = new Field();
    field.begin(poolOf(rows([0, 0])), 0, 2, 0);
    bringUp(field, readAt + 9_000);
    expect([...field.load.subarray(0, 2)]).toEqual([0, 0]);
  });
});

/** One request of each of so many isolates that hear nothing of each other, by the same readings: how many each replica gets. */
function share(isolates: number, replicas: readonly ReplicaRow[], now: number, stayMs: number): number[] {
  const counts = replicas.map(() => 0);
  for (let seed = 0; seed < isolates; seed++) {
    const observed = new Observed();
    observed.started("chat.local.0", now - 60_000 - stayMs);
    observed.ended("chat.local.0", now - 60_000);
    const [first] = route({ service, replicas, observed }, seeded(seed), now).candidates;
    const at = replicas.findIndex(({ replica }) => replica.id === first?.id);
    counts[at] = (counts[at] ?? 0) + 1;
  }
  return counts;
}

describe("isolates that read the same", () => {
  const loads = [9, 8, 11, 3, 10, 12, 9, 10];

  test("do not all send to who was idlest when it was read, once requests have come and gone since", () => {
    const counts = share(800, rows(loads, readAt, loads.map(() => 3_000)), readAt, 2_000);
    expect(Math.max(...counts)).toBeLessThan(2 * (800 / loads.length));
  });

  test("send to who is idlest where requests stay for long, though the reading is as old", () => {
    const counts = share(800, rows(loads, readAt, loads.map(() => 3_000)), readAt, 120_000);
    expect(counts[3]).toBe(800);
  });

  test("do not all send to whose reading is the latest", () => {
    const counts = share(800, rows(loads.map(() => 8), readAt, [4_900, 4_200, 50, 3_500, 2_900, 2_100, 1_400, 700]), readAt, 2_000);
    expect(Math.max(...counts)).toBeLessThan(2 * (800 / loads.length));
  });

  test("send nothing to one that is far busier than all", () => {
    const counts = share(200, rows([9, 8, 60, 9], readAt, [3_000, 3_000, 3_000, 3_000]), readAt, 2_000);
    expect(counts[2]).toBe(0);
  });

  test("never take one that does not say for idler than those who do", () => {
    const counts = share(400, rows([1, unknown, 2, 1], readAt, [3_000, 3_000, 3_000, 3_000]), readAt, 20_000);
    expect(counts[1]).toBe(0);
  });
});
