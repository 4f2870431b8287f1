import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { routeServiceSchema } from "../../schema/bundle.ts";
import { seeded } from "../../schema/clock.ts";
import { linkTimes, type Load } from "../../schema/protocol.ts";
import { phases } from "../../schema/replica.ts";
import type { SnapshotHost, SnapshotReplica } from "../../schema/snapshot.ts";
import { route, unusable, type RouteFacts } from "./route.ts";

const takenAt = 1_000_000;

const service = routeServiceSchema.parse({
  name: "chat", version: 1, models: ["chat"], listed: true, createdAt: 0, selfHosted: true, timeouts: { ttftMs: 1, totalMs: 1 }, bodyBytesMax: 1,
  providers: [{ name: "first", endpoint: "https://a.example/v1", dialect: "openai" }, { name: "second", endpoint: "https://b.example/v1", dialect: "openai" }],
});

type Row = RouteFacts["replicas"][number];

function row(number: number, load?: Load, { replica = {}, host = {} }: { replica?: Partial<SnapshotReplica>; host?: Partial<SnapshotHost> } = {}): Row {
  return {
    takenAt,
    replica: { id: `chat.local.${number}`, service: "chat", number, version: 1, phase: "ready", host: `h${number}`, since: 0, inFlight: 0, ...(load === undefined ? {} : { load }), ...replica },
    host: { id: `h${number}`, relays: [0, 1], heardAt: takenAt, linkUp: true, draining: false, ...host },
  };
}

const busy = (running: number, queueDepth = 0): Load => ({ running, queueDepth });

/** How often each candidate comes first. */
function firsts(replicas: readonly Row[], seed = 1, times = 10_000): Record<string, number> {
  const random = seeded(seed);
  const out: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const id = route({ service, replicas }, random).candidates[0]?.id ?? "none";
    out[id] = (out[id] ?? 0) + 1;
  }
  return out;
}

describe("unusable()", () => {
  test("a ready replica on a connected host may be used", () => {
    expect(unusable(row(1))).toBeUndefined();
  });

  test.each(phases.filter((phase) => phase !== "ready"))("not while it is %s", (phase) => {
    expect(unusable(row(1, undefined, { replica: { phase } }))).toBe(`phase is ${phase}`);
  });

  test.each<[Partial<SnapshotHost>, string]>([
    [{ linkUp: false }, "its host's link is down"],
    [{ draining: true }, "its host is draining"],
    [{ relays: [] }, "its host has no relay"],
    [{ heardAt: takenAt - linkTimes.leaseMs - 1 }, `its host was last heard ${linkTimes.leaseMs + 1} ms before the snapshot`],
  ])("not with a host of %j", (host, reason) => {
    expect(unusable(row(1, undefined, { host }))).toBe(reason);
  });

  test("a host's lease is measured by its Hub's clock, up to its last millisecond", () => {
    expect(unusable(row(1, undefined, { host: { heardAt: takenAt - linkTimes.leaseMs } }))).toBeUndefined();
  });
});

describe("route()", () => {
  test("says of every replica that it leaves out why", () => {
    const { candidates, filtered } = route({ service, replicas: [row(1), row(2, undefined, { replica: { phase: "draining" } }), row(3, undefined, { host: { relays: [] } })] }, seeded(1));
    expect(candidates.map(({ id }) => id)).toEqual(["chat.local.1", "first", "second"]);
    expect(filtered).toEqual({ "chat.local.2": "phase is draining", "chat.local.3": "its host has no relay" });
  });

  test("a candidate carries its host, that host's relays and its load", () => {
    expect(route({ service: { ...service, providers: [] }, replicas: [row(1, busy(2, 3), { host: { relays: [1] } })] }, seeded(1)).candidates).toEqual([{ kind: "replica", id: "chat.local.1", host: "h1", relays: [1], load: 5 }]);
  });

  test("prefers the less loaded of two", () => {
    expect(firsts([row(1, busy(4)), row(2, busy(3))])).toEqual({ "chat.local.2": 10_000 });
    expect(firsts([row(1, busy(0)), row(2, busy(0, 1))])).toEqual({ "chat.local.1": 10_000 });
  });

  test("of many, the busiest is never first and the idlest most often", () => {
    const counts = firsts([row(1, busy(5)), row(2, busy(0)), row(3, busy(2)), row(4, busy(9))]);
    expect(counts["chat.local.4"]).toBeUndefined();
    // power of two choices: the idlest of n is first with chance 2/n
    expect(Math.abs((counts["chat.local.2"] ?? 0) - 5_000)).toBeLessThan(250);
    expect(counts["chat.local.3"] ?? 0).toBeGreaterThan(counts["chat.local.1"] ?? 0);
  });

  test("spreads evenly over equals", () => {
    for (const load of [undefined, busy(3)]) {
      const counts = firsts(Array.from({ length: 5 }, (_, i) => row(i + 1, load)));
      expect(Object.keys(counts).length).toBe(5);
      for (const [id, count] of Object.entries(counts)) expect(Math.abs(count - 2_000), id).toBeLessThan(200);
    }
  });

  test("an unknown load never looks idle: it is not preferred to any known one", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { minLength: 1, maxLength: 6 }), fc.nat(), (loads, seed) => {
        const replicas = [row(0), ...loads.map((load, i) => row(i + 1, busy(load)))];
        const [first, second] = route({ service, replicas }, seeded(seed)).candidates;
        if (first?.kind === "replica" && second?.kind === "replica" && first.load === undefined) expect(second.load).toBe(Math.max(...loads));
      }),
      { numRuns: 500 },
    );
    expect(firsts([row(1), row(2, busy(1)), row(3, busy(9))])["chat.local.1"] ?? 0).toBeLessThan(firsts([row(1, busy(0)), row(2, busy(1)), row(3, busy(9))])["chat.local.1"] ?? 0);
  });

  test("every usable replica comes once, then the providers in their order", () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(20), { nil: undefined }), { maxLength: 8 }), fc.nat(), (loads, seed) => {
        const replicas = loads.map((load, i) => row(i, load === undefined ? undefined : busy(load)));
        const ids = route({ service, replicas }, seeded(seed)).candidates.map(({ id }) => id);
        expect(ids.slice(0, loads.length).sort()).toEqual(replicas.map(({ replica }) => replica.id).sort());
        expect(ids.slice(loads.length)).toEqual(["first", "second"]);
      }),
      { numRuns: 300 },
    );
  });

  test("decides the same for the same chance, and changes nothing that it is given", () => {
    const replicas = Object.freeze([row(1, busy(1)), row(2), row(3, busy(0))]);
    const before = JSON.stringify(replicas);
    expect(route({ service, replicas }, seeded(9))).toEqual(route({ service, replicas }, seeded(9)));
    expect(JSON.stringify(replicas)).toBe(before);
  });

  test("with nothing to choose from there is no candidate", () => {
    expect(route({ service: { ...service, providers: [] }, replicas: [] }, seeded(1))).toEqual({ candidates: [], filtered: {} });
  });
});
