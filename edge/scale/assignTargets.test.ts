import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { phases, type Phase } from "../../schema/replica.ts";
import { Fleet, host, task } from "../../test/assignment.ts";
import { assign, type Assigned, type AssignTarget } from "./assign.ts";
import { isOfKind } from "./fit.ts";

const [zone1, zone2] = ["us-east-1a", "us-east-1b"];
const spot = (id: string, zone = zone1) => host(id, { spot: true, zone });
const onDemand = (id: string, zone = zone1) => host(id, { spot: false, zone });

describe("assign() with several versions side by side", () => {
  const old = task("chat", "a");
  const next = task("chat", "b", { version: 2 });

  test("keeps each at its count, whatever is ready of the other", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(old, 3);
    fleet.plan();
    fleet.set("ready", "chat.local.1", "chat.local.2", "chat.local.3").wantAll("chat", { task: next, count: 1 }, { task: old, count: 3 }).plan();
    expect(fleet.all().map(({ digest }) => digest).sort()).toEqual(["a", "a", "a", "b"]);
    fleet.set("ready", "chat.local.4").plan();
    expect(fleet.all().map(({ digest }) => digest).sort()).toEqual(["a", "a", "a", "b"]);
    fleet.wantAll("chat", { task: next, count: 2 }, { task: old, count: 1 }).plan();
    expect(fleet.all().map(({ digest }) => digest).sort()).toEqual(["a", "b", "b"]);
  });

  test("what is of neither rolls away as the first one's get ready", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "0"), 2);
    fleet.plan();
    fleet.set("ready", "chat.local.1", "chat.local.2").wantAll("chat", { task: next, count: 2 }, { task: old, count: 1 }).plan();
    const digests = () => fleet.all().map(({ digest }) => digest).sort().join("");
    expect(digests()).toBe("00abb");
    fleet.set("ready", fleet.all().find(({ digest }) => digest === "a")?.id ?? "").plan();
    expect(digests()).toBe("00abb");
    fleet.set("ready", fleet.all().find(({ digest }) => digest === "b")?.id ?? "").plan();
    expect(digests()).toBe("0abb");
  });

  test("a version that is not wanted any more rolls away; one that is wanted none of goes at once", () => {
    const both = (): Fleet => {
      const fleet = new Fleet().on(host("h1")).wantAll("chat", { task: next, count: 1 }, { task: old, count: 1 });
      fleet.plan();
      return fleet.set("starting", "chat.local.1").set("ready", "chat.local.2");
    };
    const rolls = both().want(next, 1);
    rolls.plan();
    expect(rolls.all().map(({ digest }) => digest).sort()).toEqual(["a", "b"]);
    const goes = both().wantAll("chat", { task: next, count: 1 }, { task: old, count: 0 });
    goes.plan();
    expect(goes.all().map(({ digest }) => digest)).toEqual(["b"]);
  });

  test("each one's replica on a leaving host serves until another of the same version is ready", () => {
    const fleet = new Fleet().on(host("h1")).wantAll("chat", { task: next, count: 1 }, { task: old, count: 1 });
    fleet.plan();
    fleet.set("ready", "chat.local.1", "chat.local.2").on(host("h1", { usable: false, leaving: true }), host("h2")).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1", "chat.local.2"], h2: ["chat.local.3", "chat.local.4"] });
    fleet.set("ready", "chat.local.4").plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.3", "chat.local.4"] });
  });
});

describe("assign() by kinds of hosts", () => {
  const chat = task("chat", "a");

  test("places each target on its kind, and says of which kind there is none", () => {
    const fleet = new Fleet().on(onDemand("o1"), spot("s1"), spot("s2", zone2)).wantAll("chat", { task: chat, count: 1, zone: zone2, spot: true }, { task: chat, count: 1, spot: false }, { task: chat, count: 1, zone: "us-west-2a" });
    expect(fleet.plan().unplaced).toEqual([{ service: "chat", count: 1, reason: "no host in us-west-2a is enrolled", zone: "us-west-2a" }]);
    expect(fleet.ids()).toEqual({ o1: ["chat.local.2"], s1: [], s2: ["chat.local.1"] });
  });

  test.each([
    ["a spot host that is not connected", [spot("s1")].map((one) => ({ ...one, usable: false })), "no host is connected"],
    ["only hosts of the other kind", [onDemand("o1")], "no spot host in us-east-1a is enrolled"],
    ["nothing", [], "no host is enrolled"],
  ])("with %s it says why", (_, hosts, reason) => {
    expect(new Fleet().on(...hosts).wantAll("chat", { task: chat, count: 2, zone: zone1, spot: true }).plan().unplaced).toEqual([{ service: "chat", count: 2, reason, zone: zone1, spot: true }]);
  });

  test("a host that says nothing of itself is on demand, and in no zone", () => {
    const fleet = new Fleet().on(host("own")).wantAll("chat", { task: chat, count: 1, spot: false }, { task: chat, count: 1, zone: zone1 });
    expect(fleet.plan().unplaced).toMatchObject([{ zone: zone1 }]);
    expect(fleet.ids()).toEqual({ own: ["chat.local.1"] });
  });

  test("a replica counts for the most specific target that its host satisfies", () => {
    const fleet = new Fleet().on(spot("s1"), onDemand("o1", zone2)).want(chat, 2);
    fleet.plan();
    fleet.wantAll("chat", { task: chat, count: 1 }, { task: chat, count: 1, zone: zone1, spot: true });
    expect(fleet.plan().unplaced).toEqual([]);
    expect(fleet.ids()).toEqual({ s1: ["chat.local.1"], o1: ["chat.local.2"] });
  });

  test("and moves to another target where that keeps one more of them", () => {
    const fleet = new Fleet().on(spot("s1"), onDemand("o1")).want(chat, 2);
    fleet.plan();
    // the spot one would do for both, the other for one only
    fleet.set("ready", "chat.local.1", "chat.local.2").wantAll("chat", { task: chat, count: 1, zone: zone1 }, { task: chat, count: 1, spot: true }).plan();
    expect(fleet.ids()).toEqual({ s1: ["chat.local.1"], o1: ["chat.local.2"] });
  });

  test("one that is ready on a kind that is not wanted any more serves until another is ready in its place", () => {
    const fleet = new Fleet().on(onDemand("o1"), spot("s1")).wantAll("chat", { task: chat, count: 1, spot: false });
    fleet.plan();
    fleet.set("ready", "chat.local.1").wantAll("chat", { task: chat, count: 1, spot: true }).plan();
    expect(fleet.ids()).toEqual({ o1: ["chat.local.1"], s1: ["chat.local.2"] });
    fleet.set("starting", "chat.local.2").plan();
    expect(fleet.ids()).toEqual({ o1: ["chat.local.1"], s1: ["chat.local.2"] });
    fleet.set("ready", "chat.local.2").plan();
    expect(fleet.ids()).toEqual({ o1: [], s1: ["chat.local.2"] });
  });

  test("one that is not ready there goes at once", () => {
    const fleet = new Fleet().on(onDemand("o1"), spot("s1")).wantAll("chat", { task: chat, count: 1, spot: false });
    fleet.plan();
    fleet.set("starting", "chat.local.1").wantAll("chat", { task: chat, count: 1, spot: true }).plan();
    expect(fleet.ids()).toEqual({ o1: [], s1: ["chat.local.2"] });
  });
});

describe("assign() prefers", () => {
  const chat = task("chat", "a");

  test("not to have all of a service on one host, whatever speaks for it", () => {
    const fleet = new Fleet().on(host("h1", { warm: new Set(["a"]) }), host("h2")).want(chat, 3);
    fleet.plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1", "chat.local.3"], h2: ["chat.local.2"] });
  });

  test.each([
    ["where its weights are", { warm: new Set(["a"]), reclaims: 3, priceMicroUsd: 9 }, { warm: new Set(["b"]), reclaims: 0, priceMicroUsd: 1 }],
    ["where fewer hosts were reclaimed", { reclaims: 1, priceMicroUsd: 9 }, { reclaims: 2, priceMicroUsd: 1 }],
    ["what costs less for each GPU", { priceMicroUsd: 8, gpus: 8 }, { priceMicroUsd: 2, gpus: 1 }],
    ["what says no price: it is there anyway", {}, { priceMicroUsd: 1 }],
  ])("%s", (_, better, worse) => {
    const fleet = new Fleet().on(host("worse", worse), host("better", better)).want(chat, 1);
    fleet.plan();
    expect(fleet.ids()).toEqual({ worse: [], better: ["chat.local.1"] });
  });
});

test("assign() scales down those with fewest requests in flight of those that are alike, then the newest", () => {
  const fleet = new Fleet().on(host("h1")).want(task("chat", "a"), 4);
  fleet.plan();
  fleet.set("ready", "chat.local.1", "chat.local.2", "chat.local.3", "chat.local.4");
  fleet.inFlight.set("chat.local.1", 1).set("chat.local.3", 7);
  const left: number[][] = [];
  for (const count of [3, 2, 1]) {
    fleet.want(task("chat", "a"), count).plan();
    left.push(fleet.all().map(({ number }) => number).sort((a, b) => a - b));
  }
  expect(left).toEqual([[1, 2, 3], [1, 3], [3]]);
});

test("assign() scales down what is on a host that takes nothing new before what is on others", () => {
  const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 2);
  fleet.plan();
  fleet.set("ready", "chat.local.1", "chat.local.2").on(host("h1", { usable: false }), host("h2")).want(task("chat", "a"), 1).plan();
  expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.2"] });
});

// ——— any fleet, any targets, any history ———

const kinds = [{}, { zone: zone1 }, { zone: zone2 }, { spot: true }, { spot: false }, { zone: zone1, spot: true }, { zone: zone2, spot: false }];

const move = fc.record({
  targets: fc.array(fc.record({ digest: fc.constantFrom("a", "b", "c"), count: fc.nat(3), kind: fc.constantFrom(...kinds) }), { maxLength: 4 }),
  hosts: fc.array(fc.record({ kind: fc.constantFrom(...kinds), gpus: fc.nat(3), state: fc.constantFrom("up", "up", "up", "cut", "leaving", "lost") }), { maxLength: 5 }),
  phases: fc.array(fc.constantFrom<Phase>(...phases, "ready", "ready", "ready"), { maxLength: 12 }),
});

function live(moves: readonly (typeof move extends fc.Arbitrary<infer M> ? M : never)[], look: (fleet: Fleet, placement: Assigned, targets: AssignTarget[], before: ReadonlySet<string>) => void): void {
  const fleet = new Fleet();
  for (const { targets, hosts, phases: next } of moves) {
    const wanted = targets.map(({ digest, count, kind }) => ({ task: task("chat", digest, { gpus: 1 }), count, ...kind }));
    fleet.wantAll("chat", ...wanted).on(...hosts.map(({ kind, gpus, state }, i) => host(`h${i}`, { ...kind, gpus, usable: state === "up", leaving: state === "leaving", lost: state === "lost" })));
    fleet.all().forEach(({ id }, i) => next[i] !== undefined && fleet.set(next[i], id));
    const before = new Set(fleet.all().map(({ id }) => id));
    look(fleet, fleet.plan(), wanted, before);
  }
}

describe("assign(), whatever is wanted on whatever kinds", () => {
  test("is idempotent", () => {
    fc.assert(fc.property(fc.array(move, { minLength: 1, maxLength: 5 }), (moves) => {
      live(moves, (fleet, first) => {
        const given = fleet.given;
        expect(assign(fleet.facts())).toEqual(first);
        expect(fleet.given).toBe(given);
      });
    }), { numRuns: 1000 });
  });

  test("has each target's count on hosts of its kind, or says how many it lacks; beyond that only what serves in place of others", () => {
    fc.assert(fc.property(fc.array(move, { minLength: 1, maxLength: 5 }), (moves) => {
      live(moves, (fleet, { unplaced }, targets, before) => {
        const wanted = targets.reduce((sum, { count }) => sum + count, 0);
        const lacking = unplaced.reduce((sum, { count }) => sum + count, 0);
        expect(fleet.all().length).toBeGreaterThanOrEqual(wanted - lacking);
        for (const { zone, spot: isSpot, count } of unplaced) {
          // a lack is a target's own
          expect(targets.some((target) => target.zone === zone && target.spot === isSpot && target.count >= count)).toBe(true);
        }
        // all that are new are on usable hosts that some target of their digest allows
        for (const [id, list] of fleet.assigned) {
          const there = fleet.hosts.find((one) => one.id === id);
          for (const one of list.filter(({ id: replica }) => !before.has(replica))) expect(there?.usable === true && targets.some((target) => target.task.digest === one.digest && isOfKind(there ?? {}, target))).toBe(true);
        }
      });
    }), { numRuns: 500 });
  });
});

describe("assign() by what a task names", () => {
  const set = task("chat", "a", { gpus: 8, accelerators: [{ name: "L4", count: 8 }, { name: "A100", count: 1 }] });

  test("GPUs that it names, as many of each as it says; hosts that say nothing by their number", () => {
    const fleet = new Fleet().on(host("a100", { accelerator: "a100", gpus: 2 }), host("l4", { accelerator: "L4", gpus: 4 }), host("h100", { accelerator: "H100", gpus: 8 }), host("mute", { gpus: 8 })).want(set, 4);
    expect(fleet.plan().unplaced).toEqual([{ service: "chat", count: 1, reason: "no host has 1 free GPU" }]);
    expect(fleet.ids()).toEqual({ a100: ["chat.local.1", "chat.local.3"], l4: [], h100: [], mute: ["chat.local.2"] });
  });

  test("none of the GPUs that it names", () => {
    expect(new Fleet().on(host("h100", { accelerator: "H100", gpus: 8 })).want(set, 1).plan().unplaced).toEqual([{ service: "chat", count: 1, reason: "no host has L4 or A100" }]);
  });

  test.each<[string, NonNullable<Parameters<typeof task>[2]>["places"], Parameters<typeof host>[1], string | undefined]>([
    ["its zone", [{ zone: zone1 }], { zone: zone1 }, undefined],
    ["another zone", [{ zone: zone1 }], { zone: zone2 }, "no host is in us-east-1a"],
    ["its region", [{ region: "us-east-1" }], { zone: zone2 }, undefined],
    ["another region", [{ cloud: "aws", region: "us-west-2" }, { region: "eu-west-1" }], { zone: zone2 }, "no host is in us-west-2 or eu-west-1"],
    ["a zone that is not known", [{ zone: zone1 }], {}, undefined],
    ["any zone of a cloud", [{ cloud: "aws" }], { zone: zone2 }, undefined],
    ["a spot host where none is taken", [{ spot: false }], { spot: true }, "no host is on demand, and the service takes no spot hosts"],
    ["an on-demand host where spot is wanted: the scaler counts those", [{ spot: true }], { spot: false }, undefined],
  ])("a host in %s", (_, places, fields, reason) => {
    const { unplaced } = new Fleet().on(host("h", fields)).want(task("chat", "a", places === undefined ? {} : { places }), 1).plan();
    expect(unplaced).toEqual(reason === undefined ? [] : [{ service: "chat", count: 1, reason }]);
  });

  test("spread over zones before hosts", () => {
    const fleet = new Fleet().on(onDemand("a1"), onDemand("a2"), onDemand("b1", zone2)).want(task("chat", "a"), 2);
    fleet.plan();
    expect(fleet.ids()).toEqual({ a1: ["chat.local.1"], a2: [], b1: ["chat.local.2"] });
  });
});
