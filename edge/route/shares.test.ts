import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { routeServiceSchema, strategies, type RouteService } from "../../schema/bundle.ts";
import { seeded } from "../../schema/clock.ts";
import type { Load } from "../../schema/protocol.ts";
import type { Phase } from "../../schema/replica.ts";
import { requestFacts, type RequestFacts } from "./request.ts";
import { route, type Decision, type RouteFacts } from "./route.ts";
import { isMixed, type Shares } from "./shares.ts";

const takenAt = 1_000_000;
const plain = routeServiceSchema.parse({ name: "chat", version: 2, models: ["chat"], listed: true, createdAt: 0, selfHosted: true, timeouts: { ttftMs: 1, totalMs: 1 }, bodyBytesMax: 1, providers: [] });
const provider = { name: "vendor", endpoint: "https://a.example/v1", dialect: "openai" };
const withVendor = (more: Record<string, unknown> = {}): RouteService => routeServiceSchema.parse({ ...plain, providers: [provider], ...more });

type Row = RouteFacts["replicas"][number];

function row(number: number, version: number, { load, phase = "ready" }: { load?: Load; phase?: Phase } = {}): Row {
  return {
    takenAt,
    replica: { id: `chat.local.${number}`, service: "chat", number, version, phase, host: `h${number}`, since: 0, inFlight: 0, ...(load === undefined ? {} : { load }) },
    host: { id: `h${number}`, relays: [0, 1], heardAt: takenAt, linkUp: true, draining: false },
  };
}

const rows = (count: number, version: number, from = 1): Row[] => Array.from({ length: count }, (_, i) => row(from + i, version, { load: { running: i % 3, queueDepth: 0 } }));
const of = (session: string | undefined): RequestFacts => requestFacts({ model: "chat", messages: [{ role: "user", content: "Hello" }] }, 100, "a", session);
const versionsOf = ({ candidates }: Decision): (number | string)[] => candidates.map((one) => (one.kind === "replica" ? one.version : one.id));

/** The share of requests whose first candidate is of each version, or a provider. */
function firsts(replicas: readonly Row[], shares: Shares, { service = plain, request, times = 10_000 }: { service?: RouteService; request?: (i: number) => RequestFacts; times?: number } = {}): Record<string, number> {
  const random = seeded(7);
  const counts: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const [first = "none"] = versionsOf(route({ service, replicas, shares, ...(request === undefined ? {} : { request: request(i) }) }, random, takenAt));
    counts[first] = (counts[first] ?? 0) + 1 / times;
  }
  return counts;
}

test.each<[string, Row[], boolean]>([
  ["no replica", [], false],
  ["one version", rows(3, 1), false],
  ["another one that is not ready", [...rows(3, 1), row(9, 2, { phase: "starting" })], false],
  ["another one that is", [...rows(3, 1), row(9, 2)], true],
])("isMixed() of %s", (_, replicas, mixed) => {
  expect([isMixed(replicas), isMixed(replicas)]).toEqual([mixed, mixed]);
});

describe("route() by shares", () => {
  test.each<[Shares]>([[{ 1: 0.95, 2: 0.05 }], [{ 1: 0.75, 2: 0.25 }], [{ 1: 0.5, 2: 0.5 }], [{ 1: 0.5, 2: 0.3, 3: 0.2 }]])("holds %j to one per cent over 10,000 requests, however many replicas each version has", (shares) => {
    const replicas = [...rows(7, 1), ...rows(1, 2, 20), ...rows(2, 3, 30)];
    for (const request of [undefined, (i: number) => of(`session ${i}`)]) {
      const seen = firsts(replicas, shares, request === undefined ? {} : { request });
      for (const [version, share] of Object.entries(shares)) expect(Math.abs((seen[version] ?? 0) - share), version).toBeLessThan(0.01);
    }
  });

  test.each(strategies)("holds them by %s", (strategy) => {
    const service = routeServiceSchema.parse({ ...plain, routing: { strategy } });
    const seen = firsts([...rows(4, 1), ...rows(2, 2, 10)], { 1: 0.9, 2: 0.1 }, { service, times: 5_000 });
    expect(Math.abs((seen[2] ?? 0) - 0.1)).toBeLessThan(0.01);
  });

  test("holds them in a fleet of which only a sample is weighed", () => {
    const seen = firsts([...rows(1_000, 1), ...rows(1, 2, 5_000)], { 1: 0.95, 2: 0.05 }, { times: 4_000 });
    expect(Math.abs((seen[2] ?? 0) - 0.05)).toBeLessThan(0.01);
  });

  test("holds them where replicas only take over from a provider", () => {
    const service = withVendor({ replicas: { fallback: true } });
    const replicas = [...rows(4, 1), ...rows(2, 2, 10)];
    const random = seeded(3);
    let second = 0;
    for (let i = 0; i < 10_000; i++) {
      const order = versionsOf(route({ service, replicas, shares: { 1: 0.7, 2: 0.3 } }, random, takenAt));
      expect(order[0]).toBe("vendor");
      if (order[1] === 2) second++;
    }
    expect(Math.abs(second / 10_000 - 0.3)).toBeLessThan(0.01);
    const blocked = new Map([["vendor", "broken"]]);
    const first = Array.from({ length: 2_000 }, () => versionsOf(route({ service, replicas, shares: { 1: 0.7, 2: 0.3 }, blocked }, random, takenAt))[0]);
    expect(Math.abs(first.filter((version) => version === 2).length / 2_000 - 0.3)).toBeLessThan(0.03);
  });

  test("one session keeps its version, and keeps the new one as that gets more", () => {
    const replicas = [...rows(3, 1), ...rows(3, 2, 10)];
    const random = seeded(5);
    const versionOf = (session: string, shares: Shares): unknown => versionsOf(route({ service: plain, replicas, shares, request: of(session) }, random, takenAt))[0];
    const few: Shares = { 1: 0.8, 2: 0.2 };
    const more: Shares = { 1: 0.4, 2: 0.6 };
    for (let i = 0; i < 200; i++) {
      const version = versionOf(`s${i}`, few);
      for (let again = 0; again < 5; again++) expect(versionOf(`s${i}`, few)).toBe(version);
      if (version === 2) expect(versionOf(`s${i}`, more)).toBe(2);
    }
  });

  test("a version without a share gets nothing, and is said to take no part", () => {
    const replicas = [...rows(1, 1), row(2, 2), row(3, 2, { phase: "starting" })];
    const decision = route({ service: plain, replicas, shares: { 1: 1 } }, seeded(1), takenAt);
    expect(decision.candidates.map(({ id }) => id)).toEqual(["chat.local.1"]);
    expect(decision.filtered).toEqual({ "chat.local.2": "version 2 takes no part", "chat.local.3": "phase is starting" });
  });

  test("when no version with a share has a replica, all take part: a new name of the same replicas fails nothing", () => {
    expect(versionsOf(route({ service: plain, replicas: [row(1, 1), row(2, 3, { phase: "starting" })], shares: { 3: 1 } }, seeded(1), takenAt))).toEqual([1]);
  });

  test("the good version comes next after a canary, and before other canaries", () => {
    const random = seeded(1);
    const replicas = [...rows(2, 1), ...rows(4, 2, 10)];
    for (let i = 0; i < 200; i++) {
      const [first, ...rest] = versionsOf(route({ service: plain, replicas, shares: { 1: 0.5, 2: 0.5 } }, random, takenAt));
      expect(rest).toEqual(first === 1 ? [1, 2, 2, 2, 2] : [1, 1, 2, 2, 2]);
    }
  });

  test("a canary that is over its bounds, or blocked, fails nothing: the other version takes its requests", () => {
    const full: Load = { running: 500, queueDepth: 50 };
    expect(firsts([...rows(2, 1), row(10, 2, { load: full })], { 1: 0.5, 2: 0.5 }, { times: 500 })).toEqual({ 1: expect.closeTo(1) });
    const replicas = [...rows(2, 1), row(10, 2)];
    const random = seeded(1);
    for (let i = 0; i < 200; i++) {
      const decision = route({ service: plain, replicas, shares: { 1: 0.5, 2: 0.5 }, blocked: new Map([["chat.local.10", "its breaker is open"]]) }, random, takenAt);
      expect(versionsOf(decision)).toEqual([1, 1]);
      expect(decision.saturated).toBe(false);
    }
  });

  test("and comes before a provider that costs", () => {
    const service = withVendor({ routing: { strategy: "availability_first", fallbackChain: ["replicas", "vendor"] } });
    const random = seeded(1);
    for (let i = 0; i < 200; i++) {
      const decision = route({ service, replicas: [...rows(1, 1), row(10, 2)], shares: { 1: 0.5, 2: 0.5 }, blocked: new Map([["chat.local.10", "its breaker is open"]]) }, random, takenAt);
      expect(versionsOf(decision)).toEqual([1, "vendor"]);
    }
  });

  test("whatever is there: what could answer without shares can answer with them, and each candidate comes once", () => {
    const one = fc.record({ version: fc.integer({ min: 1, max: 3 }), phase: fc.constantFrom<Phase>("ready", "ready", "starting"), running: fc.nat(150) });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 12 }), fc.constantFrom<Shares>({ 1: 1 }, { 1: 0.5, 2: 0.5 }, { 2: 0.1, 3: 0.9 }), fc.nat(), fc.constantFrom(...strategies), (all, shares, seed, strategy) => {
        const replicas = all.map(({ version, phase, running }, i) => row(i + 1, version, { phase, load: { running, queueDepth: 0 } }));
        const service = routeServiceSchema.parse({ ...plain, routing: { strategy } });
        const without = route({ service, replicas }, seeded(seed), takenAt);
        const { candidates, scores } = route({ service, replicas, shares }, seeded(seed), takenAt);
        expect(candidates.length > 0).toBe(without.candidates.length > 0);
        expect(new Set(candidates.map(({ id }) => id)).size).toBe(candidates.length);
        for (const { total } of scores) expect(total).toBeGreaterThan(-1e-6);
        if (candidates.some((candidate) => candidate.kind === "replica" && shares[candidate.version] !== undefined)) expect(candidates.every((candidate) => candidate.kind === "provider" || shares[candidate.version] !== undefined)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
