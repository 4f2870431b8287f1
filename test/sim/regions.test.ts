import { describe, expect, test } from "vitest";
import { settleMs } from "./checks.ts";
import { arrivals, steady } from "./demand.ts";
import { simulate, type Fault, type Report } from "./simulate.ts";

/** A service with a fixed number of replicas over two regions: nothing but news wakes its Scaler. */

const busyMs = 300_000;
const lostAt = 120_000;
const hosts = (["weur", "enam"] as const).flatMap((region) => [0, 1].map((i) => ({ id: `${region}-${i}`, region, gpus: 2 })));

function lived(faults: readonly Fault[], requests = false): Report {
  return simulate({
    seed: 1, untilMs: busyMs + settleMs, restMs: busyMs, hosts, faults,
    services: [{ name: "chat", policy: { autoscaler: "fixed", min: 4, max: 4 }, coldStartMs: { p50: 15_000, p95: 20_000 }, drainMs: 600_000 }],
    demand: requests ? { chat: (random) => arrivals({ rate: steady(1), cv: 1, untilMs: busyMs, random }) } : {},
  });
}

const readyAt = ({ moments }: Report, atMs: number): number | undefined => moments.find(({ at }) => at >= atMs)?.ready;

describe("a region that loses all its hosts", () => {
  const lost: Fault[] = ["weur-0", "weur-1"].map((crash) => ({ atMs: lostAt, crash }));

  test("has its replicas started in the other one when their lease is over", () => {
    const world = lived(lost);
    expect(readyAt(world, lostAt - 1_000)).toBe(4);
    // a lease, and a cold start
    expect(readyAt(world, lostAt + 15_000 + 40_000)).toBe(4);
    expect(world.desires.at(-1)?.desire.regions).toMatchObject({ weur: [], enam: [{ count: 4 }] });
  });

  test("gives what has room nowhere to the one that has hosts again first", () => {
    const all = hosts.map(({ id }): Fault => ({ atMs: lostAt, crash: id, ...(id === "enam-1" ? { backMs: 400_000 } : id === "enam-0" ? { backMs: 410_000 } : {}) }));
    const world = lived(all);
    expect(world.moments.at(-1)).toMatchObject({ ready: 4, assigned: 4 });
  });
});

test("a region whose hosts are all taken back serves on until as many are ready in the other one", () => {
  const world = lived(["weur-0", "weur-1"].map((reclaim) => ({ atMs: lostAt, reclaim, noticeMs: 60_000 })), true);
  const after = world.moments.filter(({ at }) => at >= lostAt && at < lostAt + 60_000).map(({ ready }) => ready);
  expect(Math.min(...after)).toBeGreaterThanOrEqual(4);
  expect(world.moments.at(-1)).toMatchObject({ ready: 4 });
  expect(world.outcomes["chat"]).toMatchObject({ failed: 0, cutByStop: 0 });
});
