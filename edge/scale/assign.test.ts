import { describe, expect, test } from "vitest";
import { Fleet, host, task } from "../../test/assignment.ts";
import type { AssignHost } from "./fit.ts";

describe("assign() spreads", () => {
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

describe("assign() keeps and moves", () => {
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

describe("assign() updates", () => {
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

describe("assign() empties a host that is leaving", () => {
  const leaving = (id: string, fields: Partial<AssignHost> = {}): AssignHost => host(id, { usable: false, leaving: true, ...fields });

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

describe("assign() fits", () => {
  test("an image goes to hosts whose agents know images, and to no other", () => {
    const fleet = new Fleet();
    fleet.hosts = [host("old", { images: false }), host("new", { images: true })];
    fleet.want(task("chat", "d1", { image: "vllm/vllm-openai:v0.32.0" }), 2);
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
    fleet.services = [{ service: "a", targets: [{ task: task("a", "a", { gpus: 1 }), count: 1 }] }, { service: "b", targets: [{ task: task("b", "b", { gpus: 1 }), count: 0 }] }];
    expect(fleet.plan().unplaced).toEqual([]);
    expect(fleet.ids()).toEqual({ h1: ["a.local.1"] });
  });
});
