import { describe, expect, test } from "vitest";
import { settleMs } from "./checks.ts";
import { arrivals, stairs, steady } from "./demand.ts";
import { simulate, type WorldFacts } from "./simulate.ts";

/** Rows of the failure model, by their numbers. */

const adaptive = { autoscaler: "adaptive", min: 1, max: 6, targetQps: 1.25 } as const;
const busyMs = 600_000;

function world(facts: Partial<WorldFacts>): WorldFacts {
  return {
    seed: 1, untilMs: busyMs + settleMs, restMs: busyMs,
    services: [{ name: "chat", policy: adaptive, coldStartMs: { p50: 15_000, p95: 20_000 } }],
    hosts: Array.from({ length: 8 }, (_, i) => ({ id: `host-${i}`, region: "weur" as const, gpus: 1 })),
    demand: { chat: (random) => arrivals({ rate: stairs([0, 1], [120_000, 4], [420_000, 1]), cv: 1, untilMs: busyMs, random }) },
    ...facts,
  };
}

describe("row 22: an alarm that is late, or rings twice", () => {
  const alarmed = simulate(world({ faults: [{ atMs: 1, forMs: busyMs, network: {}, alarms: { doubled: 1, late: 0.5 } }] }));
  const calm = simulate(world({}));

  test("changes nothing: every generation is a new one, and it ends where the calm world ends", () => {
    const generations = alarmed.desires.map(({ desire: { generation } }) => generation);
    expect(generations).toEqual([...new Set(generations)].sort((a, b) => a - b));
    expect(alarmed.desires.at(-1)?.desire.desired).toBe(calm.desires.at(-1)?.desire.desired);
    expect(alarmed.outcomes["chat"]).toMatchObject({ failed: 0, cutByStop: 0 });
  });

  test("and no generation comes of an alarm after which the same is wanted as before", () => {
    for (const [i, { desire }] of alarmed.desires.entries()) {
      const before = alarmed.desires[i - 1]?.desire;
      if (before !== undefined) expect([desire.desired, desire.version, desire.regions, desire.rollout]).not.toEqual([before.desired, before.version, before.regions, before.rollout]);
    }
  });
});

test.each([1, 2, 3])("row 30: commands and facts that are lost, doubled and reordered end in what is wanted, never above the most nor below the least, seed %i", (seed) => {
  const { outcomes, moments, desires } = simulate(world({ seed, faults: [{ atMs: 1, forMs: busyMs, network: { lost: 0.1, doubled: 0.3, late: 0.5 } }] }));
  for (const { desire: { desired } } of desires) expect(desired).toSatisfy((count: number) => count >= adaptive.min && count <= adaptive.max);
  expect(Math.max(...moments.map(({ assigned }) => assigned))).toBeLessThanOrEqual(adaptive.max);
  expect(moments.at(-1)).toMatchObject({ desired: 1, assigned: 1, ready: 1 });
  expect(outcomes["chat"]?.cutByStop).toBe(0);
});

test.each([1, 2, 3])("row 31: 4 -> 1 under load breaks no stream and fails no request, seed %i", (seed) => {
  const fixed = (count: number) => ({ autoscaler: "fixed", min: count, max: count }) as const;
  const { outcomes: { chat }, moments, lines } = simulate(world({
    seed,
    services: [{ name: "chat", policy: fixed(4), coldStartMs: { p50: 15_000, p95: 20_000 }, changes: [{ atMs: 300_000, policy: fixed(1) }] }],
    demand: { chat: (random) => arrivals({ rate: steady(1), cv: 1, untilMs: busyMs, random }) },
  }));
  expect(moments.find(({ at }) => at > 290_000)?.ready).toBe(4);
  expect(moments.at(-1)?.ready).toBe(1);
  expect(chat).toMatchObject({ failed: 0, refused: 0, cutByStop: 0, resumed: 0 });
  expect(chat?.answered).toBe(chat?.asked);
  // they had something in flight
  expect(lines.filter((line) => line.includes("is draining")).length).toBe(3);
});

describe("row 32: 60 % of the hosts are lost at once, and come back", () => {
  const cut = Array.from({ length: 6 }, (_, i) => `host-${i}`);
  const hosts = Array.from({ length: 10 }, (_, i) => ({ id: `host-${i}`, region: "weur" as const, gpus: 1 }));
  const lostAt = 300_000;
  const demand = { chat: (random: () => number) => arrivals({ rate: steady(5), cv: 1, untilMs: busyMs, random }) };
  const service = { name: "chat", policy: { autoscaler: "request_rate", min: 1, max: 9, targetQps: 1.25, upscaleDelayMs: 20_000, downscaleDelayMs: 60_000 }, coldStartMs: { p50: 15_000, p95: 20_000 } } as const;
  /** Until all are back: an agent's wait between two connections is 30 s at most. */
  const during = (lines: readonly string[], what: RegExp): string[] => lines.filter((line) => {
    const at = Number.parseFloat(line) * 1000;
    return at > lostAt && at < lostAt + 150_000 && what.test(line);
  });

  test("no replica is taken away or started elsewhere, and the Scaler wants no fewer", () => {
    const { lines, desires, outcomes } = simulate(world({ hosts, demand, services: [service], faults: [{ atMs: lostAt, forMs: 120_000, cut }] }));
    // what was draining before the loss may end; another start is for more demand, not in another's place
    expect(during(lines, /is draining/)).toEqual([]);
    const before = desires.findLast(({ at }) => at < lostAt)?.desire.desired ?? 0;
    const wanted = desires.filter(({ at }) => at > lostAt && at < lostAt + 150_000).map(({ desire: { desired } }) => desired);
    expect(before).toBeGreaterThanOrEqual(4);
    expect(Math.min(before, ...wanted)).toBe(before);
    expect(during(lines, /is provisioning/).length).toBe(Math.max(before, ...wanted) - before);
    expect(outcomes["chat"]).toMatchObject({ failed: 0, cutByStop: 0 });
  });

  test("nor by an update that comes meanwhile", () => {
    const { lines, moments } = simulate(world({ hosts, demand, services: [{ ...service, updates: [{ atMs: lostAt + 30_000 }] }], faults: [{ atMs: lostAt, forMs: 120_000, cut }] }));
    expect(during(lines.filter((line) => Number.parseFloat(line) * 1000 < lostAt + 120_000), /is draining/)).toEqual([]);
    expect(moments.at(-1)).toMatchObject({ desired: 1, ready: 1 });
  });

  test("while 30 % that stay away are replaced when their lease is over", () => {
    const { lines, outcomes } = simulate(world({ hosts, demand, services: [service], faults: hosts.slice(0, 3).map(({ id }) => ({ atMs: lostAt, crash: id })) }));
    expect(during(lines, /is provisioning/).length).toBeGreaterThan(0);
    expect(outcomes["chat"]?.failed).toBe(0);
  });
});
