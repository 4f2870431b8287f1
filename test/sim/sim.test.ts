import { describe, expect, test } from "vitest";
import { Checks, settleMs, Violation } from "./checks.ts";
import { arrivals, steady } from "./demand.ts";
import { simulate, type Report } from "./simulate.ts";
import { worldOf } from "./worlds.ts";

/** How often the number that is wanted turned from growing to falling, or back. */
function turns({ desires }: Report, fromMs: number): number {
  const numbers = desires.filter(({ at }) => at >= fromMs).map(({ desire: { desired } }) => desired);
  const signs = numbers.slice(1).flatMap((desired, i) => (desired === numbers[i] ? [] : [Math.sign(desired - (numbers[i] ?? 0))]));
  return signs.slice(1).filter((sign, i) => sign !== signs[i]).length;
}

describe("any world: messages lost, doubled and late, alarms doubled and late, Hubs restarted, hosts cut off, crashed and reclaimed", () => {
  // each of them stays within bounds, comes to rest when its demand does, cuts no request by scaling down, and takes nothing away while the brake is on
  test.each(Array.from({ length: 10 }, (_, i) => i + 1))("seed %i: what is wanted stays within bounds, and all comes to rest", (seed) => {
    const { outcomes } = simulate(worldOf(seed));
    expect(outcomes["chat"]?.cutByStop).toBe(0);
  });

  test("is the same world each time it is made of its seed, to the last line", () => {
    const [once, again, other] = [5, 5, 6].map((seed) => simulate(worldOf(seed)).lines);
    expect(again).toEqual(once);
    expect(other).not.toEqual(once);
  });

  test("a violation says its seed, how to replay it, and what happened last", () => {
    const message = new Violation("five are wanted").of(42, ["one", "two"]).message;
    expect(message).toBe("seed 42: five are wanted\nit replays exactly: node test/sim/replay.ts 42\none\ntwo");
    const world = worldOf(7);
    expect(() => simulate({ ...world, untilMs: 700_000 })).toThrow("it needs");
    expect(() => new Checks(0).end({ bundle: { fleet: { services: [] } }, services: [], hubs: [] } as never, new Map(), 2_000_000)).not.toThrow();
  });
});

test.each([1])("demand that does not change makes no scaler change its mind more than once in a stabilisation window, seed %i", (seed) => {
  const constantMs = 1_800_000;
  const untilMs = settleMs + constantMs;
  const report = simulate({
    seed, untilMs,
    services: [{ name: "chat", policy: { autoscaler: "adaptive", min: 1, max: 8, targetQps: 1.25 } }],
    hosts: Array.from({ length: 8 }, (_, i) => ({ id: `host-${i}`, region: "weur" as const, gpus: 1 })),
    demand: { chat: (random) => arrivals({ rate: steady(2), cv: 1, untilMs, random }) },
  });
  // Kubernetes' stabilisation window, as edge/scale/adaptive.ts has it at most
  expect(turns(report, settleMs)).toBeLessThanOrEqual(constantMs / 300_000);
  expect(report.outcomes["chat"]).toMatchObject({ failed: 0, refused: 0, cutByStop: 0 });
});
