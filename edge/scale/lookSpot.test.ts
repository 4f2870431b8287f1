import { expect, test } from "vitest";
import { seeded } from "../../schema/clock.ts";
import type { RegionFacts, ScaleReplica } from "../../schema/scale.ts";
import { task } from "../../test/assignment.ts";
import { facts, policy, replica } from "../../test/scaling.ts";
import { look, type Kept } from "./look.ts";

const now = 1_700_000_000_000;
const host = { region: "local", usable: true, room: 4, warm: false, reclaims: 0 } as const;
const spotted = { baseOnDemand: 0, dynamicOnDemand: true, placer: "default" } as const;

/** A service with a fixed number of replicas, whose hosts are one on demand and two zones of spot. */
const told = (replicas: ScaleReplica[], generation = 0, isSpot = true): RegionFacts => facts({
  at: now, generation, replicas,
  service: { task: task("chat", "d1"), replicas: { local: 2 }, policy: policy({ autoscaler: "fixed", min: 2, max: 4, ...(isSpot ? { spot: spotted } : {}) }) },
  hosts: [{ ...host, id: "o", spot: false }, { ...host, id: "a", zone: "a", spot: true }, { ...host, id: "b", zone: "b", spot: true }],
});
const on = (number: number, zone: string): ScaleReplica => replica(number, { zone, spot: true });

test("look() comes back within SkyServe's 20 s while replicas are wanted on spot, and not at all for a fixed number of others", () => {
  expect(look({ generation: 0 }, [told([on(1, "a"), on(2, "b")])], ["local"], now, seeded(1)).nextMs).toBeLessThanOrEqual(20_000);
  expect(look({ generation: 0 }, [told([replica(1), replica(2)], 0, false)], ["local"], now, seeded(1)).nextMs ?? Infinity).toBeGreaterThan(20_000);
});

test("look() has what was lost on spot replaced in another zone, with one on demand until it is ready, and then lets that go", () => {
  const wanted = (kept: Kept): string[] => (kept.desire?.regions.local ?? []).map(({ zone, spot, count }) => `${count} ${spot === true ? `spot ${zone}` : "on demand"}`).sort();
  const steps: [ScaleReplica[], string[]][] = [
    [[on(1, "a"), on(2, "b")], ["1 spot a", "1 spot b"]],
    // one more than is wanted, for some minutes: losses come in rows
    [[on(1, "a")], ["1 on demand", "3 spot a"]],
    [[on(1, "a"), on(3, "a"), replica(4, { spot: false })], ["3 spot a"]],
  ];
  let kept: Kept = { generation: 0 };
  for (const [i, [replicas, expected]] of steps.entries()) {
    ({ kept } = look(kept, [told(replicas, kept.generation)], ["local"], now + i * 20_000, seeded(1)));
    expect(wanted(kept)).toEqual(expected);
  }
});
