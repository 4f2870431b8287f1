import { describe, expect, test } from "vitest";
import { Fleet, host, task } from "../../test/assignment.ts";
import { triesMax } from "./assign.ts";

describe("assign() where hosts refuse", () => {
  const gpu = (digest: string) => task("chat", digest, { gpus: 1 });

  test("a replica that its host will not run goes to one that has not said so, and stays with the last that did", () => {
    const fleet = new Fleet().on(host("h1"), host("h2"), host("h3")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.refuse("chat.local.1").plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.2"], h3: [] });
    fleet.refuse("chat.local.2").plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: [], h3: ["chat.local.3"] });
    expect(fleet.refuse("chat.local.3").plan().unplaced).toEqual([]);
    expect(fleet.ids()).toEqual({ h1: [], h2: [], h3: ["chat.local.3"] });
  });

  test("what failed by itself does not: it would fail elsewhere as well", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.set("failed", "chat.local.1").plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: [] });
  });

  test("a host that has refused a version is taken last for it, whatever speaks for it, and like any other for the next", () => {
    const cheap = host("h1", { refused: new Set(["a"]), warm: new Set(["a"]) });
    const fleet = new Fleet().on(cheap, host("h2", { priceMicroUsd: 9 })).want(task("chat", "a"), 3);
    fleet.plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.1", "chat.local.2", "chat.local.3"] });
    fleet.want(task("chat", "b"), 3).plan();
    expect(fleet.ids()["h1"]?.length).toBeGreaterThan(0);
  });

  test("where only such hosts have room, one of them has it, to say why not", () => {
    const fleet = new Fleet().on(host("h1", { gpus: 1, refused: new Set(["a"]) }), host("h2")).want(gpu("a"), 1);
    expect(fleet.plan().unplaced).toEqual([]);
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: [] });
    fleet.refuse("chat.local.1").plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: [] });
    fleet.on(...fleet.hosts.slice(0, 1), host("h2", { gpus: 1 })).plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.2"] });
  });

  test("what all hosts refuse is asked for again when the time of the last one is over, there or where another's is over too", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 1);
    fleet.plan();
    fleet.refuse("chat.local.1").plan();
    fleet.refuse("chat.local.2").plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.2"] });
    fleet.on(host("h1", { refused: new Set(["a"]) }), host("h2", { overdue: new Set(["chat.local.2"]) })).plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.3"] });
    // it is another one, which was not refused
    expect(fleet.plan().unplaced).toEqual([]);
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.3"] });
    // also where more hosts refuse it than are asked in a row
    const many = Array.from({ length: triesMax + 1 }, (_, i) => host(`h${i}`, { refused: new Set(["a"]) }));
    const crowd = new Fleet().on(...many).want(task("chat", "a"), 1);
    crowd.plan();
    crowd.refuse("chat.local.1").plan();
    expect(crowd.all()).toMatchObject([{ id: "chat.local.1" }]);
    const last = [...crowd.assigned].find(([, list]) => list.length > 0)?.[0];
    crowd.on(...many.map((one) => (one.id === last ? host(one.id, { overdue: new Set(["chat.local.1"]) }) : one))).plan();
    expect(crowd.ids()[last ?? ""]).toEqual(["chat.local.2"]);
  });

  test("replicas that run stay where they are, though their host refuses another one", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 2);
    fleet.plan();
    fleet.set("ready", "chat.local.1", "chat.local.2").want(task("chat", "a"), 3).plan();
    fleet.refuse("chat.local.3").plan();
    expect(fleet.ids()).toEqual({ h1: ["chat.local.1"], h2: ["chat.local.2", "chat.local.4"] });
  });

  test("what so many hosts will not run is tried on no more", () => {
    const hosts = Array.from({ length: triesMax + 5 }, (_, i) => host(`h${i}`));
    const fleet = new Fleet().on(...hosts).want(task("chat", "a"), 1);
    fleet.plan();
    for (let i = 0; i < hosts.length; i++) fleet.refuse(fleet.all()[0]?.id ?? "").plan();
    expect(fleet.given).toBe(triesMax);
    expect(fleet.plan().unplaced).toEqual([]);
  });
});

describe("assign() where a disk is full", () => {
  test("nothing new goes there while another host fits, and something does where none does", () => {
    const fleet = new Fleet().on(host("h1", { full: true, warm: new Set(["a"]) }), host("h2", { gpus: 1 })).want(task("chat", "a", { gpus: 1 }), 1);
    fleet.plan();
    expect(fleet.ids()).toEqual({ h1: [], h2: ["chat.local.1"] });
    const only = new Fleet().on(host("h1", { full: true })).want(task("chat", "a"), 1);
    expect(only.plan().unplaced).toEqual([]);
    expect(only.ids()).toEqual({ h1: ["chat.local.1"] });
  });

  test("what waits there for room goes to another host; what runs or starts there stays", () => {
    const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 6);
    fleet.plan();
    const here = fleet.ids()["h1"] as [string, string, string];
    fleet.set("ready", here[0]).set("starting", here[1]).set("pending", here[2]);
    fleet.on(host("h1", { full: true }), host("h2")).plan();
    expect(fleet.ids()["h1"]).toEqual(here.slice(0, 2));
    expect(fleet.all().length).toBe(6);
    const ids = fleet.ids();
    fleet.plan();
    expect(fleet.ids()).toEqual(ids);
  });
});
