import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AssignedReplica, ReplicaState } from "../../schema/protocol.ts";
import { isOver, phases, type Phase } from "../../schema/replica.ts";
import { place, type PlaceFacts, type PlaceHost, type PlaceService, type Placement } from "./place.ts";

type PlaceTask = PlaceService["task"];

function task(service: string, digest: string, fields: Partial<PlaceTask> = {}): PlaceTask {
  return {
    service, digest, version: 1, run: "serve", envs: {}, drainMs: 0, gpus: 0,
    probe: { path: "/", initialDelayMs: 0, timeoutMs: 1, intervalMs: 1, failureThresholdMs: 0, headers: {} },
    ...fields,
  };
}

function host(id: string, fields: Partial<PlaceHost> = {}): PlaceHost {
  return { id, usable: true, lost: false, gpus: 0, ...fields };
}

/** A region that remembers, as its Hub does: what is assigned, the phases, the numbers given. */
class Fleet {
  services: PlaceService[] = [];
  hosts: PlaceHost[] = [];
  assigned = new Map<string, AssignedReplica[]>();
  readonly phases = new Map<string, Phase>();
  readonly removed = new Set<string>();
  readonly tasks = new Map<string, PlaceTask>();
  readonly #numbers = new Map<string, number>();
  given = 0;

  facts(): PlaceFacts {
    for (const service of this.services) this.tasks.set(service.task.digest, service.task);
    const states = new Map<string, ReplicaState>();
    for (const one of [...this.assigned.values()].flat()) {
      const phase = this.phases.get(one.id);
      if (phase !== undefined) states.set(one.id, { ...one, phase, since: 0, restarts: 0, wasReady: false, inFlight: 0 });
    }
    return {
      region: "local", services: this.services, hosts: this.hosts, assigned: this.assigned, states, removed: this.removed, tasks: this.tasks,
      nextNumber: (service) => {
        this.given++;
        const number = (this.#numbers.get(service) ?? 0) + 1;
        this.#numbers.set(service, number);
        return number;
      },
    };
  }

  /** Plan, and take the plan over. */
  plan(): Placement {
    const placement = place(this.facts());
    this.assigned = placement.assigned;
    return placement;
  }

  want(service: PlaceTask, count: number): this {
    this.services = [...this.services.filter(({ task: { service: name } }) => name !== service.service), { task: service, count }];
    return this;
  }

  on(...hosts: PlaceHost[]): this {
    this.hosts = hosts;
    return this;
  }

  set(phase: Phase, ...ids: string[]): this {
    for (const id of ids) this.phases.set(id, phase);
    return this;
  }

  /** Ids by host, sorted. */
  ids(): Record<string, string[]> {
    return Object.fromEntries([...this.assigned].map(([id, list]) => [id, list.map((one) => one.id).sort()]));
  }

  all(): AssignedReplica[] {
    return [...this.assigned.values()].flat();
  }
}

describe("place() spreads", () => {
  test("nothing over no hosts, with the reason", () => {
    expect(new Fleet().want(task("chat", "a"), 2).plan()).toEqual({ assigned: new Map(), unplaced: [{ service: "chat", count: 2, reason: "no host is enrolled" }] });
  });

  test("replicas evenly over the hosts, those of one service apart", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 2).want(task("embed", "b"), 2);
    expect(fleet.plan().unplaced).toEqual([]);
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1", "embed.local.1"], h2: ["chat.local.2", "embed.local.2"] });
  });

  test("onto the host with least on it", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.want(task("embed", "b"), 1).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["embed.local.1"] });
  });

  test("nothing new onto a host that is not usable; what it has stays there", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 2);
    fleet.plan();
    fleet.on(host("h1", { usable: false }), host("h2")).want(task("chat", "a"), 3).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.2", "chat.local.3"] });
  });

  test("nothing where no host is usable, with the reason", () => {
    expect(new Fleet().on(host("h1", { usable: false })).want(task("chat", "a"), 1).plan().unplaced).toEqual([{ service: "chat", count: 1, reason: "no host is connected" }]);
  });
});

describe("place() keeps and moves", () => {
  test("a lost host's replicas move, under new numbers, and do not come back with it", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 2);
    fleet.plan();
    fleet.on(host("h1", { usable: false, lost: true }), host("h2")).plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.2", "chat.local.3"] });
    fleet.on(host("h1"), host("h2")).plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.2", "chat.local.3"] });
  });

  test("a host that is no longer enrolled counts as lost", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.on(host("h2")).plan();
    expect(fleet.ids()).toEqual({ h2: ["chat.local.2"] });
  });

  test("a removed replica's successor has a number that was never given", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "a"), 2);
    fleet.plan();
    fleet.removed.add("chat.local.1");
    fleet.plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.2", "chat.local.3"] });
  });

  test("a failed replica of the current digest keeps its place and is not replaced", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.set("failed", "chat.local.1");
    expect(fleet.plan().unplaced).toEqual([]);
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: [] });
  });

  test("a failed replica of an old digest is dropped", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.set("failed", "chat.local.1").want(task("chat", "b"), 1).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.2"] });
  });

  test("a service that is gone takes its replicas with it", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.services = [];
    fleet.plan();
    expect(fleet.ids()).toEqual({ h1: [] });
  });

  test("a new version of the same digest keeps the replica and its number", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.want(task("chat", "a", { version: 2 }), 1).plan();
    expect(fleet.all()).toEqual([{ id: "chat.local.1", service: "chat", number: 1, version: 2, digest: "a" }]);
  });

  test("a change of phase that moves nothing leaves every list as it was, in its order", () => {
    const fleet = new Fleet().on(host("h1")).want(task("embed", "b"), 2).want(task("chat", "a"), 2);
    const first = JSON.stringify([...fleet.plan().assigned]);
    fleet.set("ready", "chat.local.2", "embed.local.2");
    expect(JSON.stringify([...fleet.plan().assigned])).toBe(first);
  });

  test("scaling down drops the least useful first: the ends, then what is not ready, then the newest", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "a"), 5);
    fleet.plan();
    fleet.set("failed", "chat.local.1").set("starting", "chat.local.2").set("ready", "chat.local.3", "chat.local.4", "chat.local.5");
    const left: string[][] = [];
    for (const count of [4, 3, 2, 1, 0]) {
      fleet.want(task("chat", "a"), count).plan();
      left.push(fleet.all().map(({ number }) => String(number)).sort());
    }
    expect(left).toEqual([["2", "3", "4", "5"], ["3", "4", "5"], ["3", "4"], ["3"], []]);
  });
});

describe("place() updates", () => {
  test("rolling: the new one beside the old, and the old goes when the new is ready", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.set("ready", "chat.local.1").want(task("chat", "b"), 1).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1", "chat.local.2"] });
    fleet.set("starting", "chat.local.2").plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1", "chat.local.2"] });
    fleet.set("ready", "chat.local.2").plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.2"] });
  });

  test("rolling: one old one goes for each new one that is ready, those that serve last", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 3);
    fleet.plan();
    fleet.set("ready", "chat.local.1", "chat.local.3").set("unhealthy", "chat.local.2").want(task("chat", "b"), 3).plan();
    const old = () => fleet.all().filter(({ digest }) => digest === "a").map(({ number }) => number).sort((a, b) => a - b);
    expect(old()).toEqual([1, 2, 3]);
    fleet.set("ready", "chat.local.4").plan();
    expect(old()).toEqual([1, 3]);
    fleet.set("ready", "chat.local.5").plan();
    expect(old()).toEqual([1]);
    fleet.set("ready", "chat.local.6").plan();
    expect(old()).toEqual([]);
  });

  test("a new version that never gets ready leaves the old ones serving", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "a"), 2);
    fleet.plan();
    fleet.set("ready", "chat.local.1", "chat.local.2").want(task("chat", "b"), 2).plan();
    fleet.set("failed", "chat.local.3", "chat.local.4").plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1", "chat.local.2", "chat.local.3", "chat.local.4"] });
  });

  test("back to the old version while the new one has not got ready: the old ones stay as they are", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.set("ready", "chat.local.1").want(task("chat", "b"), 1).plan();
    fleet.set("starting", "chat.local.2").want(task("chat", "a"), 1).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"] });
  });

  test("with a fixed port and one host the old one goes first", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "a", { fixedPort: 8080 }), 1);
    fleet.plan();
    fleet.set("ready", "chat.local.1").want(task("chat", "b", { fixedPort: 8080 }), 1);
    expect(fleet.plan().unplaced).toEqual([]);
    expect(fleet.ids()).toEqual({ h1: ["chat.local.2"] });
  });

  test("with a fixed port and another host free, the old one stays until the new one is ready", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a", { fixedPort: 8080 }), 1);
    fleet.plan();
    fleet.set("ready", "chat.local.1").want(task("chat", "b", { fixedPort: 8080 }), 1).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.2"] });
  });

  test("where nothing fits beside the old ones, they go one at a time: the next when the new one before it is ready", () => {
    const fleet = new Fleet().on(host("h1", { gpus: 1 }), host("h2", { gpus: 1 })).want(task("chat", "a", { gpus: 1 }), 2);
    fleet.plan();
    fleet.set("ready", "chat.local.1", "chat.local.2").want(task("chat", "b", { gpus: 1 }), 2).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.3"] });
    fleet.set("starting", "chat.local.3").plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.3"] });
    fleet.set("ready", "chat.local.3");
    expect(fleet.plan().unplaced).toEqual([]);
    expect(fleet.ids()).toEqual({ h1: ["chat.local.4"], h2: ["chat.local.3"] });
  });

  test("where nothing fits beside the old ones and the new one has failed, the other old ones stay", () => {
    const fleet = new Fleet().on(host("h1", { gpus: 1 }), host("h2", { gpus: 1 })).want(task("chat", "a", { gpus: 1 }), 2);
    fleet.plan();
    fleet.set("ready", "chat.local.1", "chat.local.2").want(task("chat", "b", { gpus: 1 }), 2).plan();
    fleet.set("failed", "chat.local.3").plan();
    expect(fleet.ids()).toMatchObject({ h1: ["chat.local.1"] });
  });

  test("a new version that fits nowhere, even without the old ones, takes none of them away", () => {
    const fleet = new Fleet().on(host("h1", { gpus: 1 })).want(task("chat", "a", { gpus: 1 }), 1);
    fleet.plan();
    fleet.set("ready", "chat.local.1").want(task("chat", "b", { gpus: 8 }), 1);
    expect(fleet.plan().unplaced).toEqual([{ service: "chat", count: 1, reason: "no host has 8 free GPUs" }]);
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"] });
  });
});

describe("place() empties a host that is leaving", () => {
  const leaving = (id: string, fields: Partial<PlaceHost> = {}): PlaceHost => host(id, { usable: false, leaving: true, ...fields });

  test("the replacement is asked for at once, and what is there serves until it is ready", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.set("ready", "chat.local.1").on(leaving("h1"), host("h2")).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.2"] });
    fleet.set("starting", "chat.local.2").plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.2"] });
    fleet.set("ready", "chat.local.2").plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.2"] });
  });

  test("also while its agent ends them by itself", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.set("draining", "chat.local.1").on(leaving("h1"), host("h2")).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.2"] });
    fleet.set("reclaimed", "chat.local.1").plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.2"] });
  });

  test("replicas elsewhere are left alone", () => {
    const fleet = new Fleet().on(host("h1"), host("h2"), host("h3")).want(task("chat", "a"), 3);
    fleet.plan();
    fleet.set("ready", "chat.local.1", "chat.local.2", "chat.local.3").on(leaving("h1"), host("h2"), host("h3")).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.2", "chat.local.4"], h3: ["chat.local.3"] });
  });

  test("without room elsewhere it serves on, and says what is lacking", () => {
    const fleet = new Fleet().on(host("h1", { gpus: 1 }), host("h2")).want(task("chat", "a", { gpus: 1 }), 1);
    fleet.plan();
    fleet.set("ready", "chat.local.1").on(leaving("h1", { gpus: 1 }), host("h2"));
    expect(fleet.plan().unplaced).toEqual([{ service: "chat", count: 1, reason: "no host has 1 free GPU" }]);
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: [] });
    fleet.on(leaving("h1", { gpus: 1 }));
    expect(fleet.plan().unplaced).toEqual([{ service: "chat", count: 1, reason: "the hosts that are connected are draining" }]);
  });

  test("a replacement that fails takes nothing away", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.set("ready", "chat.local.1").on(leaving("h1"), host("h2")).plan();
    fleet.set("failed", "chat.local.2").plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.2"] });
  });

  test("taken back while the replacement starts: the old one stays, the new one goes", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.set("ready", "chat.local.1").on(leaving("h1"), host("h2")).plan();
    fleet.set("starting", "chat.local.2").on(host("h1"), host("h2")).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: [] });
  });

  test("an update of what is on it begins elsewhere, and a new label reaches it", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.set("ready", "chat.local.1").on(leaving("h1"), host("h2")).want(task("chat", "a", { version: 2 }), 1).plan();
    expect(fleet.all().map(({ version }) => version)).toEqual([2, 2]);
    fleet.want(task("chat", "b"), 1).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.3"] });
  });

  test("what makes no room by going is not what goes", () => {
    const fleet = new Fleet().on(host("h1", { gpus: 1 }), host("h2", { gpus: 1 })).want(task("chat", "a", { gpus: 1 }), 2);
    fleet.plan();
    // the one on the leaving host serves, and is the later one
    fleet.set("ready", "chat.local.1", "chat.local.2").on(host("h1", { gpus: 1 }), leaving("h2", { gpus: 1 })).want(task("chat", "b", { gpus: 1 }), 2).plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.3"], h2: ["chat.local.2"] });
  });
});

describe("place() fits", () => {
  test("an image goes to hosts whose agents know images, and to no other", () => {
    const fleet = new Fleet();
    fleet.hosts = [host("old", { images: false }), host("new", { images: true })];
    fleet.services = [{ task: task("chat", "d1", { image: "vllm/vllm-openai:v0.32.0" }), count: 2 }];
    fleet.plan();
    expect([fleet.assigned.get("old")?.length ?? 0, fleet.assigned.get("new")?.length]).toEqual([0, 2]);
    fleet.hosts = [host("old", { images: false })];
    expect(fleet.plan().unplaced).toEqual([{ service: "chat", count: 2, reason: "the agents of the hosts that are connected are too old for images: update them" }]);
  });

  test("one replica with a fixed port a host, and says why the rest has none", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a", { fixedPort: 8080 }), 3);
    expect(fleet.plan().unplaced).toEqual([{ service: "chat", count: 1, reason: 'port 8080 is taken on every host: "run" names it; listen on $PORT to have several on one host' }]);
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.2"] });
  });

  test("another service's fixed port, too; a different port does not matter", () => {
    const fleet = new Fleet().on(host("h1")).want(task("chat", "a", { fixedPort: 8080 }), 1).want(task("embed", "b", { fixedPort: 8081 }), 1).want(task("rank", "c", { fixedPort: 8080 }), 1);
    expect(fleet.plan().unplaced).toMatchObject([{ service: "rank", count: 1 }]);
  });

  test("no more GPUs than a host has; what needs none fits everywhere", () => {
    const fleet = new Fleet().on(host("h1", { gpus: 4 }), host("h2", { gpus: 1 }), host("h3")).want(task("big", "a", { gpus: 2 }), 3).want(task("small", "b", { gpus: 1 }), 1).want(task("none", "c"), 3);
    expect(fleet.plan().unplaced).toEqual([{ service: "big", count: 1, reason: "no host has 2 free GPUs" }]);
    expect(fleet.ids()).toMatchObject({ h1: ["big.local.1", "big.local.2", expect.stringMatching(/^none/)], h2: [expect.stringMatching(/^none/), "small.local.1"], h3: [expect.stringMatching(/^none/)] });
  });

  test("a replica that is over holds neither port nor GPUs", () => {
    const fleet = new Fleet().on(host("h1", { gpus: 1 })).want(task("chat", "a", { gpus: 1, fixedPort: 8080 }), 1);
    fleet.plan();
    fleet.set("failed", "chat.local.1").want(task("rank", "b", { gpus: 1, fixedPort: 8080 }), 1);
    expect(fleet.plan().unplaced).toEqual([]);
  });

  test("room that one service gives up is another's in the same plan, whichever comes first", () => {
    const fleet = new Fleet().on(host("h1", { gpus: 1 })).want(task("b", "b", { gpus: 1 }), 1);
    fleet.plan();
    fleet.services = [{ task: task("a", "a", { gpus: 1 }), count: 1 }, { task: task("b", "b", { gpus: 1 }), count: 0 }];
    expect(fleet.plan().unplaced).toEqual([]);
    expect(fleet.ids()).toEqual({ h1: ["a.local.1"] });
  });
});

// ——— any fleet, any history ———

const digests = ["d1", "d2", "d3"];

interface Move {
  services: { count: number; digest: number; gpus: number; port: boolean }[];
  hosts: { present: boolean; usable: boolean; lost: boolean; gpus: number; leaving: boolean }[];
  phases: Phase[];
  remove: number;
}

const move: fc.Arbitrary<Move> = fc.record({
  services: fc.array(fc.record({ count: fc.nat(4), digest: fc.nat(digests.length - 1), gpus: fc.nat(2), port: fc.boolean() }), { minLength: 1, maxLength: 3 }),
  hosts: fc.array(
    fc.record({ present: fc.constantFrom(true, true, true, false), usable: fc.constantFrom(true, true, false), lost: fc.constantFrom(false, false, false, true), gpus: fc.nat(4), leaving: fc.constantFrom(false, false, false, true) }),
    { maxLength: 4 },
  ),
  phases: fc.array(fc.constantFrom<Phase>(...phases, "ready", "ready", "ready"), { maxLength: 12 }),
  remove: fc.nat(20),
});
const history = fc.array(move, { minLength: 1, maxLength: 5 });

/** Let a region live through its moves; look at it after each plan. */
function live(moves: readonly Move[], look: (fleet: Fleet, placement: Placement, before: Fleet["assigned"]) => void): void {
  const fleet = new Fleet();
  for (const { services, hosts, phases: next, remove } of moves) {
    // a digest says what a replica takes: the same digest, the same needs
    fleet.services = services.map(({ count, digest, gpus, port }, i) => ({ count, task: task(`s${i}`, `s${i}-${digests[digest]}-${gpus}-${port}`, { gpus, ...(port ? { fixedPort: 8080 } : {}) }) }));
    fleet.hosts = hosts.flatMap(({ present, usable, lost, gpus, leaving }, i) => (present ? [host(`h${i}`, { usable: usable && !lost && !leaving, lost, gpus, leaving })] : []));
    fleet.all().forEach(({ id }, i) => {
      const phase = next[i];
      if (phase !== undefined) fleet.phases.set(id, phase);
      if (i === remove) fleet.removed.add(id);
    });
    const before = fleet.assigned;
    look(fleet, fleet.plan(), before);
  }
}

describe("place(), whatever has happened", () => {
  test("is idempotent: placing what was placed changes nothing and gives no number", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, first) => {
          const given = fleet.given;
          const again = place(fleet.facts());
          expect(again.assigned).toEqual(first.assigned);
          expect(again.unplaced).toEqual(first.unplaced);
          expect(fleet.given).toBe(given);
        });
      }),
      { numRuns: 1000 },
    );
  });

  test("never plans more than the count of the current digest, and accounts for each one that is missing", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, { unplaced }) => {
          for (const { task: { service, digest }, count } of fleet.services) {
            const going = new Set(fleet.hosts.filter((one) => one.leaving === true).flatMap(({ id }) => fleet.assigned.get(id) ?? []));
            const current = fleet.all().filter((one) => one.service === service && one.digest === digest && !going.has(one)).length;
            const missing = unplaced.filter((one) => one.service === service);
            expect(missing.length).toBeLessThanOrEqual(1);
            expect(current + (missing[0]?.count ?? 0)).toBe(count);
            if (missing[0] !== undefined) expect(missing[0].reason).not.toBe("");
          }
        });
      }),
      { numRuns: 500 },
    );
  });

  test("plans for enrolled hosts that are not lost and services that are wanted; no id twice, none that was removed", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, { assigned }) => {
          expect([...assigned.keys()].sort()).toEqual(fleet.hosts.map(({ id }) => id).sort());
          for (const { id, lost } of fleet.hosts) if (lost) expect(assigned.get(id)).toEqual([]);
          const all = fleet.all();
          expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
          for (const { id, service } of all) {
            expect(fleet.removed.has(id)).toBe(false);
            expect(fleet.services.some((one) => one.task.service === service)).toBe(true);
          }
        });
      }),
      { numRuns: 500 },
    );
  });

  test("no replica changes its host, and only usable hosts are given new ones", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, { assigned }, before) => {
          const was = new Map([...before].flatMap(([id, list]) => list.map((one) => [one.id, id] as const)));
          for (const [id, list] of assigned) {
            const usable = fleet.hosts.find((one) => one.id === id)?.usable;
            for (const one of list) {
              if (was.has(one.id)) expect(was.get(one.id)).toBe(id);
              else expect(usable).toBe(true);
            }
          }
        });
      }),
      { numRuns: 500 },
    );
  });

  test("what is new never takes a port or GPUs that are not free", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, { assigned }, before) => {
          const old = new Set([...before.values()].flat().map(({ id }) => id));
          for (const { id, gpus } of fleet.hosts) {
            const there = (assigned.get(id) ?? []).filter((one) => !isOver(fleet.phases.get(one.id) ?? "pending"));
            const takesPort = there.filter((one) => fleet.tasks.get(one.digest)?.fixedPort !== undefined);
            if (takesPort.some((one) => !old.has(one.id))) expect(takesPort.length).toBe(1);
            const takesGpus = there.filter((one) => (fleet.tasks.get(one.digest)?.gpus ?? 0) > 0);
            if (takesGpus.some((one) => !old.has(one.id))) expect(takesGpus.reduce((sum, one) => sum + (fleet.tasks.get(one.digest)?.gpus ?? 0), 0)).toBeLessThanOrEqual(gpus);
          }
        });
      }),
      { numRuns: 500 },
    );
  });

  test("an update takes a ready replica away only when a new one is ready or has got its place", () => {
    fc.assert(
      fc.property(history, (moves) => {
        live(moves, (fleet, { assigned }, before) => {
          const now = new Set([...assigned.values()].flat().map(({ id }) => id));
          for (const { task: { service, digest }, count } of fleet.services) {
            if (count === 0) continue;
            const gone = [...before].flatMap(([id, list]) => (fleet.hosts.some((one) => one.id === id && !one.lost) ? list : []))
              .filter((one) => one.service === service && one.digest !== digest && fleet.phases.get(one.id) === "ready" && !fleet.removed.has(one.id) && !now.has(one.id));
            const current = fleet.all().filter((one) => one.service === service && one.digest === digest);
            if (gone.length > 0 && current.length === 0) {
              // only beyond the count may it go without anything in its place
              const kept = fleet.all().filter((one) => one.service === service).length;
              expect(kept).toBeGreaterThanOrEqual(count);
            }
          }
        });
      }),
      { numRuns: 500 },
    );
  });
});

test("place() takes a ready replica off a leaving host only when as many as are wanted are ready or beyond the count", () => {
  fc.assert(
    fc.property(history, (moves) => {
      live(moves, (fleet, _, before) => {
        const now = new Set(fleet.all().map(({ id }) => id));
        for (const { task: { service, digest }, count } of fleet.services) {
          const gone = fleet.hosts.filter((one) => one.leaving === true && !one.lost).flatMap(({ id }) => before.get(id) ?? [])
            .filter((one) => one.service === service && one.digest === digest && fleet.phases.get(one.id) === "ready" && !fleet.removed.has(one.id) && !now.has(one.id));
          const ready = fleet.all().filter((one) => one.service === service && fleet.phases.get(one.id) === "ready").length;
          if (gone.length > 0) expect(ready).toBeGreaterThanOrEqual(count);
        }
      });
    }),
    { numRuns: 500 },
  );
});

test.each(["stopped", "reclaimed"] as const)("place() gives another, with a new number, for a replica that is %s", (phase) => {
  const fleet = new Fleet().on(host("a")).want(task("chat", "d1"), 1);
  fleet.plan();
  const [first] = fleet.assigned.get("a") ?? [];
  fleet.set(phase, first?.id ?? "").plan();
  expect(fleet.assigned.get("a")?.map(({ number }) => number)).toEqual([2]);
});
