import { expect, test } from "vitest";
import type { Bundle } from "../../schema/bundle.ts";
import type { RegionStatus } from "../../schema/snapshot.ts";
import { task } from "../../test/assignment.ts";
import { policy } from "../../test/scaling.ts";
import { Store } from "../../test/sim/store.ts";
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
