import { describe, expect, test } from "vitest";
import type { Bundle } from "../../schema/bundle.ts";
import type { Desire } from "../../schema/scale.ts";
import type { RegionStatus } from "../../schema/snapshot.ts";
import { task } from "../../test/assignment.ts";
import { policy } from "../../test/scaling.ts";
import { Store } from "../../test/sim/store.ts";
import { Placing } from "./placing.ts";
import { newRow } from "./roster.ts";
import { Scaling } from "./scaling.ts";

const service = (name: string, isScaled: boolean): Bundle["fleet"]["services"][number] => ({ task: task(name, name), replicas: {}, sealedSecrets: {}, ...(isScaled ? { policy: policy({ autoscaler: "fixed", min: 2 }) } : {}) });
const bundle: Bundle = { route: { version: 1, publishedAt: 0, services: [], keys: [] }, fleet: { hosts: [], services: [service("chat", true), service("embed", true), service("old", false)], removed: [] } };

test("a Scaler is woken once for each change of what has no host, and not for another reason of it", () => {
  const woken: string[] = [];
  const scaling = new Scaling({ kv: new Store(), wake: (name) => woken.push(name) });
  const looks: [RegionStatus["unplaced"], string[]][] = [
    [[], []],
    [[{ service: "chat", count: 2, reason: "no host is connected" }], ["chat"]],
    [[{ service: "chat", count: 2, reason: "no host is connected" }], []],
    [[{ service: "chat", count: 2, reason: "no host has 1 free GPU" }], []],
    [[{ service: "chat", count: 3, reason: "no host has 1 free GPU" }, { service: "embed", count: 1, reason: "no host has 1 free GPU" }], ["chat", "embed"]],
    [[{ service: "chat", count: 3, spot: true, reason: "no spot host is connected" }], ["chat"]],
    [[], []],
    [[{ service: "embed", count: 1, reason: "no host is connected" }], ["embed"]],
    // without a policy there is no Scaler
    [[{ service: "embed", count: 1, reason: "no host is connected" }, { service: "old", count: 1, reason: "no host is connected" }], []],
  ];
  for (const [unplaced, expected] of looks) {
    woken.length = 0;
    scaling.lacking(bundle, unplaced);
    expect(woken).toEqual(expected);
  }
});

describe("what a Scaler wants by a bundle that has not come to this Hub yet", () => {
  const now = 1_000_000;
  const at = (version: number): Bundle => {
    const one = (of: number, digest: string) => task("chat", digest, { version: of });
    const previous = version === 2 ? { previous: { task: one(1, "a"), sealedSecrets: {} } } : {};
    return {
      route: { version, publishedAt: 0, services: [], keys: [] },
      fleet: { hosts: [{ id: "h", name: "h", region: "weur", publicKey: "", revoked: false }], services: [{ ...service("chat", true), task: one(version, version === 1 ? "a" : "b"), ...previous }], removed: [] },
    };
  };
  const wants = (generation: number, version: number, digest: string): Desire => ({ service: "chat", generation, at: now, version, desired: 2, regions: { weur: [{ version, digest, count: 2 }] }, decisions: [] });

  test("takes nothing away here: it is taken over when the bundle has come, and the Scaler is woken then", () => {
    const woken: string[] = [];
    const kv = new Store();
    const scaling = new Scaling({ kv, wake: (name) => woken.push(name) });
    const placing = new Placing({ region: "weur", awakeSince: 0, kv, scaling });
    const rows = new Map([["h", newRow("h", 1, now)]]);
    const digests = (bundle_: Bundle): string[] => {
      placing.plan(bundle_, rows, now);
      return placing.assignments.of("h").replicas.map(({ digest }) => digest);
    };
    expect(scaling.take(wants(1, 1, "a"), at(1))).toEqual([]);
    expect(digests(at(1))).toEqual(["a", "a"]);
    expect(scaling.take(wants(2, 2, "b"), at(1))).toBeUndefined();
    expect(digests(at(1))).toEqual(["a", "a"]);
    expect(scaling.desires.of("chat")?.generation).toBe(1);
    woken.length = 0;
    scaling.published(at(2));
    expect(woken).toEqual(["chat"]);
    expect(scaling.take(wants(2, 2, "b"), at(2))).toEqual([]);
    expect(digests(at(2))).toEqual(["a", "a", "b", "b"]);
  });
});

test("a clock that was set back keeps no Scaler asleep", () => {
  const woken: string[] = [];
  const scaled: Bundle = { ...bundle, fleet: { ...bundle.fleet, services: [{ ...service("chat", true), policy: policy({ autoscaler: "adaptive" }) }] } };
  const scaling = new Scaling({ kv: new Store(), wake: (name) => woken.push(name) });
  scaling.take({ service: "chat", generation: 1, at: 0, version: 1, desired: 1, regions: {}, decisions: [], rollout: { mode: "canary", state: "progressing", version: 1, reason: "" } }, scaled);
  scaling.asked("chat", 3_600_000);
  scaling.wakeFor(["chat"], scaled, 1_000);
  expect(woken).toEqual(["chat"]);
  scaling.asked("chat", 3_600_000);
  scaling.changed(1_000);
  expect(woken).toEqual(["chat", "chat"]);
});
