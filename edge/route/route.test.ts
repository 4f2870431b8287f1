import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ownReplicasSchema, routeServiceSchema, strategies, type RouteService, type Routing } from "../../schema/bundle.ts";
import { seeded } from "../../schema/clock.ts";
import { linkTimes, type Load } from "../../schema/protocol.ts";
import { phases } from "../../schema/replica.ts";
import type { SnapshotHost, SnapshotReplica } from "../../schema/snapshot.ts";
import { Observed } from "./observed.ts";
import { requestFacts, type RequestFacts } from "./request.ts";
import { route, sampleMax, unusable, type RouteFacts } from "./route.ts";

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
function firsts(replicas: readonly Row[], { times = 10_000, now = takenAt, ...facts }: Partial<RouteFacts> & { times?: number; now?: number } = {}): Record<string, number> {
  const random = seeded(1);
  const out: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const id = route({ service, replicas, ...facts }, random, now).candidates[0]?.id ?? "none";
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
    expect(route({ service: { ...service, providers: [] }, replicas: [row(1, busy(2, 3), { host: { relays: [1] } })] }, seeded(1)).candidates).toEqual([
      { kind: "replica", id: "chat.local.1", upstream: "replicas", weight: 1, fallback: false, price: undefined, contextWindow: undefined, continuation: "none", version: 1, host: "h1", relays: [1], load: 5 },
    ]);
  });

  test("prefers the less loaded of two", () => {
    expect(firsts([row(1, busy(4)), row(2, busy(3))])).toEqual({ "chat.local.2": 10_000 });
    expect(firsts([row(1, busy(0)), row(2, busy(0, 1))])).toEqual({ "chat.local.1": 10_000 });
  });

  test("of many, the idlest is first while readings are fresh; as they age it is believed less", () => {
    const rows = [row(1, busy(5)), row(2, busy(0)), row(3, busy(1)), row(4, busy(50))];
    expect(firsts(rows, { times: 500 })).toEqual({ "chat.local.2": 500 });
    const counts = firsts(rows, { now: takenAt + 14_000 });
    expect(counts["chat.local.4"]).toBeUndefined();
    // of three alike the best of two random ones: 2/3
    expect(Math.abs((counts["chat.local.2"] ?? 0) - 6_667)).toBeLessThan(250);
    expect(counts["chat.local.1"] ?? 0).toBeLessThan(counts["chat.local.3"] ?? 0);
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
    expect(route({ service: { ...service, providers: [] }, replicas: [] }, seeded(1))).toEqual({ candidates: [], filtered: {}, scores: [], strategy: "availability_first", saturated: false });
  });
});

const price = (inputMicroUsd: number, outputMicroUsd: number) => ({ inputMicroUsd, cachedInputMicroUsd: inputMicroUsd / 2, outputMicroUsd });

/** A service with so many providers and a strategy. */
function serviceWith(routing: Partial<Routing>, providers: Partial<RouteService["providers"][number]>[] = [], replicas: Partial<RouteService["replicas"]> = {}): RouteService {
  return routeServiceSchema.parse({ ...service, routing, providers: providers.map((provider) => ({ endpoint: "https://a.example/v1", dialect: "openai", ...provider })), replicas });
}

function asked(text: string, { account = "acct_1", session, ...fields }: { account?: string; session?: string; stream?: boolean; max_tokens?: number } = {}): RequestFacts {
  return requestFacts({ model: "chat", messages: [{ role: "user", content: text }], ...fields }, text.length, account, session);
}

const ids = (facts: RouteFacts, seed = 1): string[] => route(facts, seeded(seed), takenAt).candidates.map(({ id }) => id);
const three = [row(1, busy(1)), row(2, busy(1)), row(3, busy(1))];

describe("what is filtered", () => {
  test.each(strategies)("%s never picks or lists one that is filtered, and says why", (strategy) => {
    fc.assert(
      fc.property(fc.array(fc.record({ load: fc.option(fc.nat(20), { nil: undefined }), phase: fc.constantFrom("ready" as const, "draining" as const), blocked: fc.boolean(), seen: fc.boolean() }), { maxLength: 12 }), fc.nat(), fc.boolean(), (drawn, seed, providerBlocked) => {
        const replicas = drawn.map(({ load, phase }, i) => row(i, load === undefined ? undefined : busy(load), { replica: { phase } }));
        const observed = new Observed();
        for (const [i, { seen }] of drawn.entries()) if (seen) observed.started(`chat.local.${i}`, takenAt);
        const bad = new Set([...drawn.flatMap(({ phase, blocked }, i) => (phase === "draining" || blocked ? [`chat.local.${i}`] : [])), ...(providerBlocked ? ["one"] : [])]);
        const blocked = new Map([...bad].map((id) => [id, "its breaker is open"]));
        const facts = { service: serviceWith({ strategy }, [{ name: "one", price: price(2, 1) }, { name: "two", fallback: true }]), replicas, observed, blocked, request: asked("x".repeat(2_000)) };
        const { candidates, filtered } = route(facts, seeded(seed), takenAt);
        const listed = candidates.map(({ id }) => id);
        expect(listed.filter((id) => bad.has(id))).toEqual([]);
        expect(new Set(listed).size).toBe(listed.length);
        expect(Object.keys(filtered).sort()).toEqual([...bad].sort());
        expect(listed).toContain("two");
      }),
      { numRuns: 100 },
    );
  });

  test("of many the first are named and the rest counted", () => {
    const { filtered } = route({ service, replicas: Array.from({ length: 100 }, (_, i) => row(i, undefined, { replica: { phase: "starting" } })) }, seeded(1));
    expect(Object.keys(filtered).length).toBe(21);
    expect(filtered["…"]).toBe("and 80 more");
  });
});

describe("fallback", () => {
  test("takes over in the order of the chain, then the rest as the file has them, those that are no fallback first", () => {
    const routed = serviceWith({ fallbackChain: ["c", "replicas", "a"] }, [{ name: "d", fallback: true }, { name: "a", fallback: true }, { name: "b" }, { name: "c", fallback: true }]);
    expect(ids({ service: routed, replicas: [row(1, busy(2)), row(2, busy(1))] })).toEqual(["chat.local.2", "c", "chat.local.1", "a", "b", "d"]);
  });

  test("is used when those that are none cannot be", () => {
    const routed = serviceWith({ strategy: "cost_optimized", fallbackChain: ["b", "a"] }, [{ name: "a", fallback: true }, { name: "b", fallback: true }]);
    expect(ids({ service: routed, replicas: [] })).toEqual(["b", "a"]);
  });

  test("availability_first follows the chain, replicas by load", () => {
    const routed = serviceWith({ fallbackChain: ["b", "gpus"] }, [{ name: "a" }, { name: "b" }], { name: "gpus" });
    expect(ids({ service: routed, replicas: [row(1, busy(4)), row(2, busy(2)), row(3, busy(3))] })).toEqual(["b", "chat.local.2", "chat.local.3", "chat.local.1", "a"]);
  });

  test.each([
    ["a queue", { running: 8, queueDepth: 5 }],
    ["a full cache", { running: 8, queueDepth: 0, kvUsage: 0.95 }],
    ["a hundred in flight", { running: 100, queueDepth: 0 }],
  ])("a replica with %s comes last; when all are so, the fleet is saturated and providers come first", (_, load) => {
    const routed = serviceWith({}, [{ name: "a", fallback: true }]);
    const some = route({ service: routed, replicas: [row(1, load), row(2, busy(7))] }, seeded(1));
    expect([some.candidates.map(({ id }) => id), some.saturated]).toEqual([["chat.local.2", "a", "chat.local.1"], false]);
    const all = route({ service: routed, replicas: [row(1, load), row(2, load)] }, seeded(1));
    expect([all.candidates[0]?.id, all.candidates.length, all.saturated]).toEqual(["a", 3, true]);
  });
});

describe("strategies", () => {
  test("weighted holds exact shares within 1 % of 10,000; replicas share theirs", () => {
    const routed = serviceWith({ strategy: "weighted" }, [{ name: "a", weight: 10 }, { name: "b", weight: 20 }, { name: "c", weight: 50, fallback: true }], { weight: 70 });
    const counts = firsts(three, { service: routed });
    const own = three.map(({ replica }) => counts[replica.id] ?? 0);
    expect(Math.abs(own.reduce((sum, count) => sum + count, 0) - 7_000)).toBeLessThan(100);
    expect(Math.abs((counts["a"] ?? 0) - 1_000)).toBeLessThan(100);
    expect(Math.abs((counts["b"] ?? 0) - 2_000)).toBeLessThan(100);
    expect(counts["c"]).toBeUndefined();
    for (const count of own) expect(Math.abs(count - 7_000 / 3)).toBeLessThan(200);
  });

  test("round_robin goes round, whatever the load", () => {
    const observed = new Observed();
    const routed = serviceWith({ strategy: "round_robin" }, [{ name: "a" }]);
    const turns = Array.from({ length: 40 }, (_, i) => {
      const [id = ""] = ids({ service: routed, replicas: [row(1, busy(9)), row(2), row(3, busy(0))], observed }, i);
      observed.started(id, takenAt);
      return id;
    });
    const round = turns.slice(0, 4);
    expect(new Set(round).size).toBe(4);
    expect(turns).toEqual(Array.from({ length: 10 }, () => round).flat());
  });

  test("least_load counts what this isolate has sent since the reading, and never takes a provider for idle", () => {
    const observed = new Observed();
    const facts = { service: serviceWith({ strategy: "least_load" }, [{ name: "a" }]), replicas: [row(1, busy(2)), row(2, busy(3))], observed };
    expect(ids(facts)[0]).toBe("chat.local.1");
    for (let i = 0; i < 2; i++) observed.started("chat.local.1", takenAt + 1);
    expect(ids(facts)[0]).toBe("chat.local.2");
    observed.ended("chat.local.1", takenAt + 2);
    observed.ended("chat.local.1", takenAt + 2);
    expect(ids(facts)[0]).toBe("chat.local.1");
    observed.started("chat.local.1", takenAt - 1_000);
    expect(ids(facts)[0]).toBe("chat.local.1");
    expect(firsts([row(1, busy(0))], { service: facts.service })).toEqual({ "chat.local.1": 10_000 });
  });

  test.each([
    ["one that takes four times as much has twice as much on it", { L4: 2.5, "A100-80GB": 10 }, "A100-80GB", "L4", "chat.local.1"],
    ["one that takes half as much again has twice as much on it", { L4: 2.5, "A100-80GB": 3.75 }, "A100-80GB", "L4", "chat.local.2"],
    ["what has accelerators that no rate names takes what the weakest does", { L4: 2.5, "A100-80GB": 10 }, "T4", "L4", "chat.local.2"],
    ["a host that does not say what it has takes what the weakest does", { L4: 2.5, "A100-80GB": 10 }, "A100-80GB", undefined, "chat.local.1"],
    ["without rates all are alike", undefined, "A100-80GB", "L4", "chat.local.2"],
  ])("instance_aware_least_load: %s", (_, qps, one, two, expected) => {
    const kind = (accelerator: string | undefined): { host: Partial<SnapshotHost> } => ({ host: accelerator === undefined ? {} : { accelerator } });
    const service = { ...serviceWith({ strategy: "instance_aware_least_load" }), replicas: ownReplicasSchema.parse(qps === undefined ? {} : { qps }) };
    const replicas = [row(1, busy(6), kind(one)), row(2, busy(3), kind(two))];
    expect(ids({ service, replicas })[0]).toBe(expected);
    // no other strategy looks at it
    expect(ids({ service: { ...service, routing: { ...service.routing, strategy: "least_load" } }, replicas })[0]).toBe("chat.local.2");
  });

  test("cost_optimized: own replicas without a price are the cheapest, a provider without one is not", () => {
    const routed = serviceWith({ strategy: "cost_optimized" }, [{ name: "unknown" }, { name: "cheap", price: price(100_000, 400_000) }, { name: "dear", price: price(5_000_000, 15_000_000) }]);
    expect(ids({ service: routed, replicas: three, request: asked("hello") })[0]).toMatch(/^chat/);
    expect(firsts([], { service: routed, request: asked("hello"), times: 100 })).toEqual({ cheap: 100 });
  });

  test("cost_optimized weighs this request: long prompts and long answers go where each is cheap", () => {
    const routed = serviceWith({ strategy: "cost_optimized" }, [{ name: "reads", price: price(100_000, 9_000_000) }, { name: "writes", price: price(2_000_000, 500_000) }]);
    expect(firsts([], { service: routed, request: asked("x".repeat(80_000), { max_tokens: 10 }), times: 100 })).toEqual({ reads: 100 });
    expect(firsts([], { service: routed, request: asked("hello", { max_tokens: 4_000 }), times: 100 })).toEqual({ writes: 100 });
  });

  test("cost_optimized: a batch job goes to the cheap and slow, a short stream to the fast that costs little more", () => {
    const observed = new Observed();
    for (const [id, ttftMs] of [["slow", 4_000], ["fast", 100], ["dear", 100]] as const) observed.firstByte(id, ttftMs, takenAt);
    const routed = serviceWith({ strategy: "cost_optimized" }, [{ name: "slow", price: price(100_000, 400_000) }, { name: "fast", price: price(300_000, 1_000_000) }, { name: "dear", price: price(2_000_000, 8_000_000) }]);
    expect(firsts([], { service: routed, observed, request: asked("hello", { max_tokens: 8_000 }), times: 100 })).toEqual({ slow: 100 });
    expect(firsts([], { service: routed, observed, request: asked("hello", { stream: true }), times: 100 })).toEqual({ fast: 100 });
  });

  test("latency_optimized goes where the first token is soonest: by what was seen, by the queue, by what is still read", () => {
    const routed = serviceWith({ strategy: "latency_optimized" });
    expect(firsts([row(1, busy(3, 3)), row(2, busy(5, 1))], { service: routed, request: asked("hello"), times: 100 })).toEqual({ "chat.local.2": 100 });
    const observed = new Observed();
    for (const id of ["chat.local.1", "chat.local.2"]) observed.firstByte(id, id.endsWith("1") ? 100 : 900, takenAt);
    expect(firsts([row(1, busy(2)), row(2, busy(1))], { service: routed, observed, request: asked("hello"), times: 100 })).toEqual({ "chat.local.1": 100 });
  });

  test("one in slow start takes its share only, and all when there is no other", () => {
    const pressure = (id: string): number => (id === "chat.local.1" ? 0.2 : 1);
    const counts = firsts(three.slice(0, 2), { pressure });
    // half of the time it is first drawn, of which a fifth stays
    expect(Math.abs((counts["chat.local.1"] ?? 0) - 1_000)).toBeLessThan(120);
    expect(firsts(three.slice(0, 1), { service: serviceWith({}), pressure, times: 100 })).toEqual({ "chat.local.1": 100 });
  });
});

describe("prefix_affinity", () => {
  const routed = serviceWith({ strategy: "prefix_affinity" });
  const fleet = (count: number, load: (i: number) => Load | undefined = () => busy(2)): Row[] => Array.from({ length: count }, (_, i) => row(i, load(i)));

  test("keeps a conversation where its turns have been read, though others are idler", () => {
    const observed = new Observed();
    const replicas = fleet(8);
    let text = "Tell me of the tides. ".repeat(200);
    const [home = ""] = ids({ service: routed, replicas, observed, request: asked(text) });
    for (let turn = 0; turn < 10; turn++) {
      const request = asked(text);
      const [id = ""] = ids({ service: routed, replicas: fleet(8, (i) => busy(`chat.local.${i}` === home ? 5 : 2)), observed, request }, turn);
      expect(id).toBe(home);
      observed.started(id, takenAt, request);
      observed.firstByte(id, 50, takenAt);
      observed.ended(id, takenAt);
      text += "And then? ".repeat(100);
    }
  });

  test("isolates that know nothing agree, and a replica that goes moves only its own", () => {
    const moved = Array.from({ length: 300 }, (_, i) => {
      const request = asked(`Conversation ${i} `.repeat(100));
      const [all = ""] = ids({ service: routed, replicas: fleet(8), request }, i);
      expect(ids({ service: routed, replicas: fleet(8), request }, i + 1)[0]).toBe(all);
      const [fewer = ""] = ids({ service: routed, replicas: fleet(7), request }, i);
      return all === "chat.local.7" ? "its own" : all === fewer ? "stayed" : "moved";
    });
    expect(moved).not.toContain("moved");
    expect(moved).toContain("its own");
  });

  /** What an isolate does with one request after the other, the first token of each so long after it was sent. */
  function passing(observed: Observed, ttftMs: number, gapMs = 1_000): (text: string) => string {
    let now = takenAt;
    return (text) => {
      const request = asked(text);
      const [first] = route({ service: routed, replicas: fleet(8), observed, request }, seeded(now), now).candidates;
      const id = first?.id ?? "";
      observed.started(id, now, request);
      observed.firstByte(id, ttftMs, now + ttftMs);
      observed.ended(id, now + ttftMs);
      now += gapMs;
      return id;
    };
  }
  const guide = "How the ferry goes, and when. ".repeat(400);

  test("what all begin with goes everywhere in turns, what few begin with stays in one place", () => {
    const send = passing(new Observed(), 100);
    const hot = Array.from({ length: 140 }, (_, i) => send(`${guide}${i} asks this. ${"And that. ".repeat(60)}`)).slice(-40);
    for (let turn = 0; turn + 8 <= hot.length; turn += 8) expect(new Set(hot.slice(turn, turn + 8)).size).toBe(8);

    const other = passing(new Observed(), 100);
    const placed = Array.from({ length: 200 }, (_, i) => ({ group: i % 20, id: other(`${i % 20} has a guide. ${guide}${i} asks this. ${"And that. ".repeat(60)}`) }));
    for (const group of Array.from({ length: 20 }, (_, i) => i)) expect(new Set(placed.filter((one) => one.group === group).map(({ id }) => id)).size, `group ${group}`).toBe(1);
  });

  test("prompts that nobody shares are sent in turns", () => {
    const send = passing(new Observed(), 100);
    const ids = Array.from({ length: 200 }, (_, i) => send(`${i} says: ${`word ${i} `.repeat(300)}`)).slice(-80);
    for (let turn = 0; turn < 80; turn += 8) expect(new Set(ids.slice(turn, turn + 8)).size).toBe(8);
  });

  test("isolates that hear nothing of each other find the same place for the same prefix, and for the turns of a conversation", () => {
    const one = passing(new Observed(), 100);
    const other = passing(new Observed(), 100);
    const places = Array.from({ length: 30 }, (_, i) => [one(`${i} has a guide. ${guide}`), other(`${i} has a guide. ${guide}And what of ${i}? ${"More. ".repeat(100)}`)]);
    // nothing is in flight between them, so that nothing but the prompt decides
    expect(places.filter(([a, b]) => a === b).length).toBe(30);
    expect(new Set(places.map(([a]) => a)).size).toBeGreaterThan(4);
  });

  test("waits no longer for a prefix than it takes to read it elsewhere", () => {
    const observed = new Observed();
    const text = `A guide. ${guide}`;
    const send = passing(observed, 200);
    const home = send(text);
    const request = asked(`${text}And then?`);
    const first = (): string => ids({ service: routed, replicas: fleet(8), observed, request })[0] ?? "";
    expect(first()).toBe(home);
    for (let i = 0; i < 2; i++) observed.started(home, takenAt + 5_000, asked(`Something else, ${i}. ${`word ${i} `.repeat(4_000)}`));
    expect(first()).not.toBe(home);
  });

  test("never sends to one over the bound, whatever it holds", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(60), { minLength: 2, maxLength: 10 }), fc.nat(), fc.option(fc.constant("s1"), { nil: undefined }), (loads, seed, session) => {
        const observed = new Observed();
        const request = asked("x".repeat(5_000), session === undefined ? {} : { session });
        void request.prefix;
        const busiest = loads.indexOf(Math.max(...loads));
        observed.started(`chat.local.${busiest}`, takenAt - 1, request);
        observed.firstByte(`chat.local.${busiest}`, 1, takenAt);
        const replicas = loads.map((load, i) => row(i, busy(load)));
        const [first] = route({ service: routed, replicas, observed, request }, seeded(seed), takenAt).candidates;
        const sum = loads.reduce((total, load) => total + load, 0);
        const bound = Math.max(((sum + 1) / loads.length) * 1.25, sum / loads.length + 8);
        expect(first?.kind === "replica" ? first.load : -1).toBeLessThanOrEqual(bound);
      }),
      { numRuns: 300 },
    );
  });

  test("a session stays, whatever its prompts and the strategy", () => {
    for (const strategy of ["prefix_affinity", "least_load", "latency_optimized"] as const) {
      const homes = new Set(Array.from({ length: 20 }, (_, i) => ids({ service: serviceWith({ strategy }), replicas: fleet(8), request: asked(`${i} `.repeat(600), { session: "s1" }) }, i)[0]));
      expect(homes.size, strategy).toBe(1);
    }
    const spread = new Set(Array.from({ length: 50 }, (_, i) => ids({ service: routed, replicas: fleet(8), request: asked("x", { session: `s${i}` }) })[0]));
    expect(spread.size).toBeGreaterThan(5);
  });

  test("in a fleet of which a sample is weighed, homes and holders are still found", () => {
    const replicas = fleet(2_000);
    const observed = new Observed();
    const request = asked("Tell me of the tides. ".repeat(200));
    const first = new Set(Array.from({ length: 20 }, (_, seed) => ids({ service: routed, replicas, observed, request }, seed)[0]));
    expect(first.size).toBe(1);
    observed.started("chat.local.1999", takenAt, request);
    observed.firstByte("chat.local.1999", 9, takenAt);
    expect(new Set(Array.from({ length: 20 }, (_, seed) => ids({ service: routed, replicas, observed, request }, seed)[0]))).toEqual(new Set(["chat.local.1999"]));
  });
});

test("of a large fleet every replica is picked, about evenly, and loaded ones hardly", () => {
  const size = 4 * sampleMax;
  const replicas = Array.from({ length: size }, (_, i) => row(i, busy(i % 2 === 0 ? 1 : 4)));
  const counts = firsts(replicas, { times: 20_000 });
  expect(Object.keys(counts).length).toBe(size / 2);
  expect(Object.keys(counts).every((id) => Number(id.split(".")[2]) % 2 === 0)).toBe(true);
  expect(Math.max(...Object.values(counts))).toBeLessThan(4 * (20_000 / (size / 2)));
});

test("a decision tells the best few with the parts of their scores", () => {
  const { scores } = route({ service: serviceWith({ strategy: "prefix_affinity" }), replicas: [row(1, { running: 1, queueDepth: 0, kvUsage: 0.5 }), row(2, { running: 3, queueDepth: 0, kvUsage: 0.25 })] }, seeded(1));
  expect(scores).toEqual([
    { id: "chat.local.1", total: 0.75, parts: { load: 1, kv: 0.5 } },
    { id: "chat.local.2", total: 0.375, parts: { load: 0, kv: 0.75 } },
  ]);
});

describe("a host that came back", () => {
  const [empty, loaded] = [busy(0), busy(8)];
  const back = (backSince?: number): Row[] => [row(1, empty, { host: backSince === undefined ? {} : { backSince } }), row(2, loaded)];

  test("is not flooded: it gets a share of what its load alone would bring it, which grows for ten seconds", () => {
    const share = (ageMs?: number): number => (firsts(back(ageMs === undefined ? undefined : takenAt - ageMs), { service: { ...service, providers: [] } })["chat.local.1"] ?? 0) / 10_000;
    expect(share()).toBeGreaterThan(0.99);
    expect(share(0)).toBeCloseTo(0.1, 1);
    expect(share(5_000)).toBeCloseTo(0.5, 1);
    expect(share(10_000)).toBeGreaterThan(0.99);
  });

  test("takes everything where there is nothing else, and all of a fleet that came back are alike", () => {
    const alone = [row(1, empty, { host: { backSince: takenAt } })];
    expect(firsts(alone, { service: { ...service, providers: [] }, times: 100 })).toEqual({ "chat.local.1": 100 });
    const all = Array.from({ length: 4 }, (_, i) => row(i, empty, { host: { backSince: takenAt } }));
    const counts = Object.values(firsts(all, { service: { ...service, providers: [] }, times: 4_000 }));
    expect(Math.min(...counts)).toBeGreaterThan(800);
  });
});
