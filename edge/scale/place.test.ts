import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seeded } from "../../schema/clock.ts";
import type { Region } from "../../schema/region.ts";
import type { ScaleHost, ScaleReplica, Target } from "../../schema/scale.ts";
import { policy, replica } from "../../test/scaling.ts";
import { place, type Placed, type PlaceFacts, type PlaceState } from "./place.ts";

const now = 1_700_000_000_000;
const fixed = policy({ autoscaler: "fixed", min: 1 });
const host = (id: string, fields: Partial<ScaleHost> = {}): ScaleHost => ({ id, region: "local", usable: true, room: 10, warm: false, reclaims: 0, ...fields });
const wanted = (count: number, version = 1, digest = "d1") => ({ version, digest, count });
const facts = (fields: Partial<PlaceFacts> = {}): PlaceFacts => ({ policy: fixed, wanted: [wanted(2)], needed: 2, hosts: [host("h")], replicas: [], unplaced: [], homes: ["local"], ...fields });
const run = (fields: Partial<PlaceFacts>, state?: PlaceState, at = now): Placed => place(facts(fields), state, at, seeded(1));
const total = ({ regions: all }: Pick<Placed, "regions">): number => Object.values(all).flat().reduce((sum, { count }) => sum + count, 0);

describe("place() without spot", () => {
  test("wants what is wanted, of whatever kind", () => {
    expect(run({}).regions).toEqual({ local: [{ version: 1, digest: "d1", count: 2 }] });
  });

  test("wants versions side by side, each at its count", () => {
    expect(run({ wanted: [wanted(1, 2, "d2"), wanted(3)] }).regions).toEqual({ local: [{ version: 2, digest: "d2", count: 1 }, { version: 1, digest: "d1", count: 3 }] });
  });

  const weur = (fields: Partial<ScaleHost> = {}) => host("w", { region: "weur", ...fields });
  const enam = (fields: Partial<ScaleHost> = {}) => host("e", { region: "enam", ...fields });
  test.each<[string, ScaleHost[], number, Partial<Record<Region, number>>]>([
    ["all where there is room", [weur({ room: 0 }), enam()], 3, { weur: 0, enam: 3 }],
    ["not all into one region, whatever speaks for it", [weur({ warm: true }), enam()], 2, { weur: 1, enam: 1 }],
    ["where its weights are", [weur(), enam({ warm: true })], 1, { weur: 0, enam: 1 }],
    ["where fewer hosts were reclaimed", [weur({ reclaims: 2 }), enam()], 1, { weur: 0, enam: 1 }],
    ["where it costs less", [weur({ priceMicroUsd: 2 }), enam({ priceMicroUsd: 1 })], 3, { weur: 1, enam: 2 }],
    ["evenly where all is alike", [weur(), enam()], 4, { weur: 2, enam: 2 }],
    ["to the first, whose Hub says what it lacks, where there is room nowhere", [weur({ room: 0 }), enam({ usable: false })], 2, { weur: 2, enam: 0 }],
  ])("it goes %s", (_, hosts, count, by) => {
    const placed = run({ hosts, homes: ["weur", "enam"], wanted: [wanted(count)] });
    for (const [region, share] of Object.entries(by)) expect(total({ regions: { [region]: placed.regions[region as Region] ?? [] } })).toBe(share);
  });

  test("what is there stays, and what is too many goes where most are", () => {
    const replicas = [replica(1, { region: "enam" }), replica(2, { region: "enam" }), replica(3, { region: "weur" })];
    const two = { hosts: [weur({ warm: true }), enam()], homes: ["weur", "enam"] as Region[], replicas };
    expect(run({ ...two, wanted: [wanted(3)] }).regions).toMatchObject({ weur: [{ count: 1 }], enam: [{ count: 2 }] });
    expect(run({ ...two, wanted: [wanted(2)] }).regions).toMatchObject({ weur: [{ count: 1 }], enam: [{ count: 1 }] });
  });

  test("old versions make room for the new one where they are", () => {
    const replicas = [replica(1, { region: "enam" }), replica(2, { region: "enam" })];
    expect(run({ hosts: [weur({ room: 0 }), enam({ room: 0 })], homes: ["weur", "enam"], replicas, wanted: [wanted(2, 2, "d2")] }).regions).toMatchObject({ weur: [], enam: [{ count: 2, digest: "d2" }] });
  });

  test("what is on a host that leaves is wanted elsewhere", () => {
    expect(run({ hosts: [weur({ usable: false }), enam()], homes: ["weur", "enam"], replicas: [replica(1, { region: "weur", leaving: true })], wanted: [wanted(1)] }).regions).toMatchObject({ weur: [], enam: [{ count: 1 }] });
  });

  test("a region that is not heard goes on as it was told, and is told nothing else; one that lost its hosts is told that nothing is wanted", () => {
    const before = { weur: [{ version: 1, digest: "d1", count: 2 }], enam: [{ version: 1, digest: "d1", count: 1 }], apac: [{ version: 1, digest: "d1", count: 1 }] };
    expect(run({ wanted: [wanted(4)], hosts: [enam()], homes: ["enam"], heard: ["enam", "apac"], before }).regions).toEqual({ weur: before.weur, enam: [{ version: 1, digest: "d1", count: 2 }], apac: [] });
  });
});

const spotPolicy = (fields: Partial<NonNullable<PlaceFacts["policy"]["spot"]>> = {}, more: Partial<PlaceFacts["policy"]> = {}) => policy({ autoscaler: "fixed", spot: { baseOnDemand: 0, dynamicOnDemand: true, placer: "spothedge", ...fields }, ...more });
const kinds = [host("o", { spot: false }), host("a", { spot: true, zone: "a" }), host("b", { spot: true, zone: "b" }), host("c", { spot: true, zone: "c" })];
const counts = ({ regions: all }: Placed): { spot: number; onDemand: number } => {
  const of = (spot: boolean): number => Object.values(all).flat().reduce((sum, target) => (target.spot === spot ? sum + target.count : sum), 0);
  return { spot: of(true), onDemand: of(false) };
};
const spot = (number: number, zone: string, fields: Partial<ScaleReplica> = {}): ScaleReplica => replica(number, { zone, spot: true, ...fields });

describe("place() with SkyServe's fallback", () => {
  // facts/routing-and-scaling.md §4, measured: min 2, one beyond, dynamic
  const two = { policy: spotPolicy(), wanted: [wanted(3)], needed: 2, hosts: kinds };
  test.each<[string, ScaleReplica[], { spot: number; onDemand: number }]>([
    ["at boot: three on spot, two on demand", [], { spot: 3, onDemand: 2 }],
    ["one of three ready: two on demand still", [spot(1, "a")], { spot: 3, onDemand: 2 }],
    ["two of three ready: one on demand, for the loss of overprovision too", [spot(1, "a"), spot(2, "b")], { spot: 3, onDemand: 1 }],
    ["three ready: both on demand go", [spot(1, "a"), spot(2, "b"), spot(3, "c")], { spot: 3, onDemand: 0 }],
    ["one that is starting does not count", [spot(1, "a"), spot(2, "b"), spot(3, "c", { phase: "starting" })], { spot: 3, onDemand: 1 }],
    ["one whose host is silent does not count", [spot(1, "a"), spot(2, "b"), spot(3, "c", { reachable: false })], { spot: 3, onDemand: 1 }],
  ])("%s", (_, replicas, expected) => {
    expect(counts(run({ ...two, replicas }))).toEqual(expected);
  });

  test.each<[string, number, number, boolean, { spot: number; onDemand: number }]>([
    ["a base is always on demand, of the whole", 1, 3, false, { spot: 2, onDemand: 1 }],
    ["a base and what is not ready, no more than is needed", 1, 3, true, { spot: 2, onDemand: 3 }],
    ["a base beyond the whole is the whole", 5, 3, false, { spot: 0, onDemand: 3 }],
    ["without either, spot alone", 0, 3, false, { spot: 3, onDemand: 0 }],
  ])("%s", (_, baseOnDemand, count, dynamicOnDemand, expected) => {
    expect(counts(run({ policy: spotPolicy({ baseOnDemand, dynamicOnDemand }), wanted: [wanted(count)], needed: count, hosts: kinds }))).toEqual(expected);
  });
});

describe("place() on spot hosts", () => {
  const zonesOf = ({ regions: all }: Placed): Record<string, number> => Object.fromEntries((all.local ?? []).filter((target) => target.spot === true).map(({ zone = "", count }) => [zone, count]));

  test.each(["default", "spothedge"] as const)("%s spreads over zones of which nothing is known", (placer) => {
    expect(zonesOf(run({ policy: spotPolicy({ placer }), wanted: [wanted(3)], needed: 3, hosts: kinds }))).toEqual({ a: 1, b: 1, c: 1 });
  });

  test.each(["default", "spothedge"] as const)("%s replaces what was lost in another zone than the one that lost it", (placer) => {
    const world = { policy: spotPolicy({ placer }), wanted: [wanted(2)], needed: 2, hosts: kinds };
    const first = run({ ...world, replicas: [spot(1, "a"), spot(2, "b")] });
    const then = run({ ...world, replicas: [spot(1, "a"), spot(2, "b")] }, first.state, now + 30_000);
    const after = run({ ...world, replicas: [spot(1, "a")] }, then.state, now + 60_000);
    expect(zonesOf(after)["a"]).toBeGreaterThanOrEqual(1);
    expect(zonesOf(after)["b"] ?? 0).toBe(0);
    expect(zonesOf(after)["c"]).toBeGreaterThanOrEqual(1);
    expect(counts(after).onDemand).toBe(1);
    expect(after.reasons.join()).toMatch(/local\/b/);
  });

  test.each(["default", "spothedge"] as const)("%s goes from a zone that has no host to another", (placer) => {
    const world = { policy: spotPolicy({ placer }), wanted: [wanted(1)], needed: 1, hosts: kinds };
    const first = run(world);
    const [zone] = Object.keys(zonesOf(first));
    const after = run({ ...world, unplaced: [{ region: "local", zone: zone ?? "", spot: true, count: 1, reason: "no host" }] }, first.state, now + 30_000);
    expect(Object.keys(zonesOf(after))).not.toEqual([zone]);
  });

  test("SpotHedge that finds a host nowhere tries each zone, and begins anew at its next tick, not at each look", () => {
    const world = { policy: spotPolicy(), wanted: [wanted(1)], needed: 1, hosts: kinds };
    const zone = (placed: Placed): string => Object.keys(zonesOf(placed))[0] ?? "";
    const changes = (fromMs: number, untilMs: number, from: Placed): { last: Placed; count: number } => {
      let [last, count] = [from, 0];
      for (let at = fromMs; at < untilMs; at += 200) {
        const next = run({ ...world, unplaced: [{ region: "local", zone: zone(last), spot: true, count: 1, reason: "no host" }] }, last.state, now + at);
        if (zone(next) !== zone(last)) count++;
        last = next;
      }
      return { last, count };
    };
    const first = changes(200, 20_000, run(world));
    // three zones, and back to one of them
    expect(first.count).toBeGreaterThanOrEqual(2);
    expect(first.count).toBeLessThanOrEqual(3);
    expect(changes(20_000, 120_000, first.last).count).toBeLessThanOrEqual(5 * 4);
  });

  test("SpotHedge begins anew when every zone has failed", () => {
    const world = { policy: spotPolicy(), wanted: [wanted(1)], needed: 1, hosts: kinds };
    let placed = run(world);
    const tried: (string | undefined)[] = [];
    for (let i = 1; i <= 4; i++) {
      const [zone] = Object.keys(zonesOf(placed));
      tried.push(zone);
      placed = run({ ...world, unplaced: [{ region: "local", zone: zone ?? "", spot: true, count: 1, reason: "no host" }] }, placed.state, now + i * 30_000);
    }
    expect(new Set(tried.slice(0, 3)).size).toBe(3);
    expect(tried[3]).toBeDefined();
  });

  test("the default prefers zones that cost less, were reclaimed less and are warm", () => {
    const one = (better: Partial<ScaleHost>, worse: Partial<ScaleHost>) => Object.keys(zonesOf(run({ policy: spotPolicy({ placer: "default" }), wanted: [wanted(1)], needed: 1, hosts: [host("a", { spot: true, zone: "a", ...worse }), host("b", { spot: true, zone: "b", ...better })] })));
    expect(one({ priceMicroUsd: 10 }, { priceMicroUsd: 11 })).toEqual(["b"]);
    expect(one({ priceMicroUsd: 0 }, { priceMicroUsd: 11 })).toEqual(["b"]);
    expect(one({ reclaims: 0 }, { reclaims: 1 })).toEqual(["b"]);
    expect(one({ warm: true }, {})).toEqual(["b"]);
    expect(one({ room: 1 }, { room: 0 })).toEqual(["b"]);
  });

  test("the default counts on a spot replica that starts where it is calm, and on ready ones only after failures", () => {
    const world = { policy: spotPolicy({ placer: "default" }), wanted: [wanted(2)], needed: 2, hosts: kinds };
    const first = run({ ...world, replicas: [spot(1, "a"), spot(2, "b", { phase: "starting" })] });
    expect(counts(first).onDemand).toBe(0);
    const lost = run({ ...world, replicas: [spot(1, "a")] }, first.state, now + 30_000);
    const again = run({ ...world, replicas: [spot(1, "a"), spot(3, "b", { phase: "starting" }), replica(4, { spot: false })] }, lost.state, now + 60_000);
    expect(counts(again).onDemand).toBe(1);
  });

  test("the default lets go of what is on demand only when spot replicas are ready in its place", () => {
    const world = { policy: spotPolicy({ placer: "default" }), wanted: [wanted(2)], needed: 2, hosts: kinds };
    const covered = { ...world, replicas: [spot(1, "a"), spot(2, "b", { phase: "starting" }), replica(3, { spot: false })] };
    expect(counts(run(covered)).onDemand).toBe(1);
    expect(counts(run({ ...world, replicas: [spot(1, "a"), spot(2, "b"), replica(3, { spot: false })] })).onDemand).toBe(0);
  });

  test("an update is no loss: what is sent away was not reclaimed", () => {
    const world = { policy: spotPolicy({ placer: "default" }), wanted: [wanted(2)], needed: 2, hosts: kinds };
    const first = run({ ...world, replicas: [spot(1, "a"), spot(2, "b")] });
    const updated = { ...world, wanted: [wanted(2, 2, "d2")], replicas: [spot(3, "a", { digest: "d2" }), spot(4, "b", { digest: "d2" })] };
    expect(run(updated, first.state, now + 30_000).state.spot?.lossesAt).toEqual([]);
    const fewer = run({ ...world, wanted: [wanted(1)], replicas: [spot(1, "a"), spot(2, "b")] }, first.state, now + 30_000);
    const [left = ""] = Object.keys(zonesOf(fewer));
    expect(run({ ...world, wanted: [wanted(1)], replicas: [spot(left === "a" ? 1 : 2, left)] }, fewer.state, now + 60_000).state.spot?.lossesAt).toEqual([]);
  });

  test("what was told and nobody has spoken of is on its way, not lost", () => {
    const world = { policy: spotPolicy(), wanted: [wanted(2)], needed: 2, hosts: kinds };
    const first = run(world);
    expect(run(world, first.state, now + 1_000).regions).toEqual(first.regions);
  });

  test("zones of a region that is not heard are as they were", () => {
    const world = { policy: spotPolicy(), wanted: [wanted(2)], needed: 2 };
    const first = run({ ...world, hosts: kinds, replicas: [spot(1, "a"), spot(2, "b")] });
    const then = run({ ...world, hosts: [], homes: ["weur"], heard: ["weur"], before: first.regions }, first.state, now + 30_000);
    expect(then.regions.local).toEqual(first.regions.local);
    expect(then.state.spot?.lossesAt).toEqual([]);
  });

  test("where no host says that it is spot, replicas go wherever they fit", () => {
    const placed = run({ policy: spotPolicy(), wanted: [wanted(2)] });
    expect(placed.regions).toEqual({ local: [{ version: 1, digest: "d1", count: 2 }] });
    expect(placed.reasons).toEqual(["no host says that it is spot: replicas go wherever they fit"]);
  });
});

// ——— whatever is there ———

const zoneNames = [undefined, "a", "b"];
const anyHost = fc.record({ region: fc.constantFrom<Region>("weur", "enam"), zone: fc.constantFrom(...zoneNames), spot: fc.constantFrom(undefined, true, false), room: fc.nat(4), usable: fc.boolean(), warm: fc.boolean(), reclaims: fc.nat(3), price: fc.option(fc.nat(5), { nil: undefined }) });
const anyReplica = fc.record({ region: fc.constantFrom<Region>("weur", "enam"), zone: fc.constantFrom(...zoneNames), spot: fc.constantFrom(undefined, true, false), digest: fc.constantFrom("d1", "d2", "d3"), phase: fc.constantFrom("ready", "ready", "starting", "failed", "reclaimed", "draining"), leaving: fc.boolean(), reachable: fc.boolean() });
const world = fc.record({
  hosts: fc.array(anyHost, { maxLength: 6 }), replicas: fc.array(anyReplica, { maxLength: 8 }), counts: fc.array(fc.nat(4), { minLength: 1, maxLength: 2 }), over: fc.nat(1),
  spot: fc.option(fc.record({ baseOnDemand: fc.nat(3), dynamicOnDemand: fc.boolean(), placer: fc.constantFrom("default" as const, "spothedge" as const) }), { nil: undefined }),
});
function factsOf({ hosts, replicas, counts: asked, over, spot: spotted }: typeof world extends fc.Arbitrary<infer W> ? W : never): PlaceFacts {
  const kind = ({ zone, spot: isSpot }: { zone: string | undefined; spot: boolean | undefined }) => ({ ...(zone === undefined ? {} : { zone }), ...(isSpot === undefined ? {} : { spot: isSpot }) });
  const count = asked.reduce((sum, one) => sum + one, 0);
  return facts({
    policy: policy({ autoscaler: "fixed", ...(spotted === undefined ? {} : { spot: spotted }) }), homes: ["weur", "enam"],
    wanted: asked.map((one, i) => wanted(one, i + 1, `d${i + 1}`)), needed: Math.max(0, count - over),
    hosts: hosts.map(({ region, room, usable, warm, reclaims, price, ...one }, i) => host(`h${i}`, { region, room, usable, warm, reclaims, ...(price === undefined ? {} : { priceMicroUsd: price }), ...kind(one) })),
    replicas: replicas.map(({ region, digest, phase, leaving, reachable, ...one }, i) => replica(i + 1, { region, digest, phase, leaving, reachable, ...kind(one) } as Partial<ScaleReplica>)),
  });
}

describe("place(), whatever is there", () => {
  test("wants what is wanted of each version, and beyond it only what stands in for spot: on demand no more than is needed, on spot one", () => {
    fc.assert(fc.property(fc.array(world, { minLength: 1, maxLength: 3 }), fc.integer(), (worlds, seed) => {
      let state: PlaceState | undefined;
      for (const [i, one] of worlds.entries()) {
        const given = factsOf(one);
        const placed: Placed = place(given, state, now + i * 30_000, seeded(seed));
        // a state is kept as JSON
        state = JSON.parse(JSON.stringify(placed.state)) as PlaceState;
        const targets = Object.values(placed.regions).flat();
        const of = (is: (target: Target) => boolean): number => targets.filter(is).reduce((sum, { count }) => sum + count, 0);
        const sum = given.wanted.reduce((all, { count }) => all + count, 0);
        for (const { digest, count } of given.wanted) expect(of((target) => target.digest === digest)).toBeGreaterThanOrEqual(count);
        for (const { count, digest } of targets) {
          expect(count).toBeGreaterThan(0);
          expect(given.wanted.some((each) => each.digest === digest)).toBe(true);
        }
        const policySpot = given.policy.spot;
        if (policySpot === undefined || targets.some((target) => target.spot === undefined)) {
          expect(of(() => true)).toBe(sum);
          continue;
        }
        const base = Math.min(policySpot.baseOnDemand, given.needed);
        const onDemand = of((target) => target.spot === false);
        const onSpot = of((target) => target.spot === true);
        expect(onSpot).toBeGreaterThanOrEqual(sum - base);
        expect(onSpot).toBeLessThanOrEqual(sum - base + (policySpot.placer === "default" ? 1 : 0));
        expect(onDemand).toBeLessThanOrEqual(given.needed);
        if (!policySpot.dynamicOnDemand) expect(onDemand).toBeLessThanOrEqual(base);
      }
    }), { numRuns: 500 });
  });

  test("wants the same when nothing has changed, whatever chance says", () => {
    fc.assert(fc.property(world, fc.integer(), fc.integer(), (one, seed, other) => {
      const given = factsOf(one);
      const first = place(given, undefined, now, seeded(seed));
      const again = place({ ...given, before: first.regions }, first.state, now + 1_000, seeded(other));
      expect(again.regions).toEqual(first.regions);
      expect(place(given, undefined, now, seeded(seed))).toEqual(first);
    }), { numRuns: 500 });
  });
});

