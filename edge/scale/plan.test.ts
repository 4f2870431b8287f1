import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Desire, RolloutStatus, ScaleDecision, Target } from "../../schema/scale.ts";
import { decisionsMax, plan, steps, type PlanFacts } from "./plan.ts";

const target = (version: number, count: number, more: Partial<Target> = {}): Target => ({ version, digest: `d${version}`, count, ...more });
const decision = (desired: number, action: ScaleDecision["action"] = "up", reason = `${desired} are needed`, at = 0): ScaleDecision => ({ at, action, desired, reason });
const status: RolloutStatus = { mode: "canary", state: "progressing", version: 2, from: 1, shares: { 1: 0.95, 2: 0.05 }, step: 1, steps: 3, reason: "step 1 of 3" };

function facts(more: Partial<PlanFacts> = {}): PlanFacts {
  return { service: "chat", version: 1, desired: 2, regions: { weur: [target(1, 2)] }, decisions: [], now: 1_000, ...more };
}

describe("plan()", () => {
  test("the first desire is generation 1, and holds what was decided", () => {
    expect(plan(undefined, facts({ decisions: [decision(2)] }))).toEqual({ service: "chat", generation: 1, at: 1_000, version: 1, desired: 2, regions: { weur: [target(1, 2)] }, decisions: [decision(2)] });
  });

  const before = plan(undefined, facts({ rollout: status, decisions: [decision(2)] })) as Desire;

  test.each<[string, Partial<PlanFacts>]>([
    ["the same", { rollout: status }],
    ["the same in another order of fields", { rollout: { ...status, shares: { 2: 0.05, 1: 0.95 } }, regions: { weur: [{ count: 2, digest: "d1", version: 1 }] } }],
    ["the same, later", { rollout: status, now: 99_000 }],
    ["the same and targets of nothing", { rollout: status, regions: { weur: [target(1, 2), target(2, 0)] } }],
    ["the last decision once more", { rollout: status, decisions: [decision(2, "up", "2 are needed", 5_000)] }],
  ])("%s is nothing new", (_name, more) => {
    expect(plan(before, facts(more))).toBeUndefined();
  });

  test.each<[string, Partial<PlanFacts>]>([
    ["another count", { rollout: status, regions: { weur: [target(1, 3)] } }],
    ["another region", { rollout: status, regions: { weur: [target(1, 1)], enam: [target(1, 1)] } }],
    ["another order: the first is the one that others go for", { rollout: status, regions: { weur: [target(2, 1), target(1, 2)] } }],
    ["another version", { rollout: status, version: 2 }],
    ["another step of the rollout", { rollout: { ...status, step: 2 } }],
    ["the rollout's end", {}],
    ["a decision", { rollout: status, decisions: [decision(3)] }],
  ])("%s is the next generation", (_name, more) => {
    expect(plan(before, facts(more))?.generation).toBe(2);
  });

  test("a hold is told once, until something else was decided", () => {
    let desire = plan(before, facts({ rollout: status, decisions: [decision(2, "hold", "cooling down for 20 s")] })) as Desire;
    expect(desire.decisions).toHaveLength(2);
    expect(plan(desire, facts({ rollout: status, decisions: [decision(2, "hold", "cooling down for 10 s")] }))).toBeUndefined();
    desire = plan(desire, facts({ rollout: status, desired: 3, decisions: [decision(3)] })) as Desire;
    expect(plan(desire, facts({ rollout: status, desired: 3, decisions: [decision(3, "hold")] }))?.decisions).toHaveLength(4);
  });

  test("decisions are bounded: the latest stay", () => {
    let desire: Desire | undefined;
    for (let i = 1; i <= 50; i++) desire = plan(desire, facts({ desired: i, decisions: [decision(i)], now: i })) ?? desire;
    expect(desire?.decisions.map(({ desired }) => desired)).toEqual(Array.from({ length: decisionsMax }, (_, i) => 31 + i));
    expect(desire?.generation).toBe(50);
  });

  test("generations rise by one, and planning what was planned is nothing, whatever is wanted", () => {
    const any: fc.Arbitrary<Partial<PlanFacts>> = fc.record({
      desired: fc.nat(5), version: fc.integer({ min: 1, max: 3 }),
      regions: fc.dictionary(fc.constantFrom("weur", "enam"), fc.array(fc.record({ version: fc.integer({ min: 1, max: 3 }), digest: fc.constantFrom("a", "b"), count: fc.nat(3) }), { maxLength: 3 })),
    });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 20 }), (all) => {
        let desire: Desire | undefined;
        for (const more of all) {
          const next = plan(desire, facts(more));
          if (next !== undefined) expect(next.generation).toBe((desire?.generation ?? 0) + 1);
          desire = next ?? desire;
          expect(plan(desire, facts(more))).toBeUndefined();
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("steps()", () => {
  const desire = (regions: Desire["regions"], rollout?: RolloutStatus): Desire => ({ service: "chat", generation: 1, at: 0, version: 1, desired: 0, regions, decisions: [], ...(rollout === undefined ? {} : { rollout }) });

  test.each<[string, Desire | undefined, Desire, string[]]>([
    ["a beginning", undefined, desire({ weur: [target(1, 2)], enam: [target(1, 1)] }), ["start 2 of version 1 in weur", "start 1 of version 1 in enam"]],
    ["nothing", desire({ weur: [target(1, 2)] }), desire({ weur: [target(1, 2)] }), []],
    ["more", desire({ weur: [target(1, 2)] }), desire({ weur: [target(1, 5)] }), ["start 3 of version 1 in weur"]],
    ["fewer", desire({ weur: [target(1, 2)] }), desire({}), ["drain 2 of version 1 in weur"]],
    ["an update", desire({ weur: [target(2, 1)] }), desire({ weur: [target(3, 2)] }), ["start 2 of version 3 in weur", "drain 1 of version 2 in weur"]],
    ["a new name for the same digest", desire({ weur: [target(1, 2)] }), desire({ weur: [{ version: 2, digest: "d1", count: 3 }] }), ["start 1 of version 2 in weur"]],
    ["kinds", desire({ weur: [target(1, 2, { spot: true })] }), desire({ weur: [target(1, 1, { spot: true }), target(1, 1, { spot: false, zone: "us-east-1a" })] }), ["start 1 of version 1 in weur, zone us-east-1a, on demand", "drain 1 of version 1 in weur, on spot"]],
    ["shares", desire({ weur: [target(1, 2)] }), desire({ weur: [target(1, 2), target(2, 1)] }, status), ["start 1 of version 2 in weur", "send 95 % of requests to version 1, 5 % of requests to version 2"]],
    ["no more shares", desire({}, status), desire({}), ["send requests to all that are ready"]],
  ])("%s", (_name, before, after, words) => {
    expect(steps(before, after)).toEqual(words);
  });
});
