import { expect, test } from "vitest";
import type { Region } from "../../schema/region.ts";
import type { ScaleReplica, Target } from "../../schema/scale.ts";
import { Fleet, host, task } from "../../test/assignment.ts";
import { replica } from "../../test/scaling.ts";
import { stay } from "./stay.ts";

const target = (count: number, more: Partial<Target> = {}): Target => ({ version: 1, digest: "d1", count, ...more });
const goes = (number: number): ScaleReplica => replica(number, { region: "weur", leaving: true });
const comes = (number: number, phase: ScaleReplica["phase"], region: Region = "enam"): ScaleReplica => replica(number, { region, phase });

test.each<[string, Partial<Record<Region, Target[]>>, ScaleReplica[], Target[]]>([
  ["all of them while none is ready elsewhere", { weur: [], enam: [target(2)] }, [goes(1), goes(2), comes(3, "starting")], [target(0, { staying: 2 })]],
  ["one fewer for each that is", { weur: [], enam: [target(2)] }, [goes(1), goes(2), comes(3, "ready"), comes(4, "starting")], [target(0, { staying: 1 })]],
  ["none when all are", { weur: [], enam: [target(2)] }, [goes(1), goes(2), comes(3, "ready"), comes(4, "ready")], []],
  ["none beside those that its own Hub keeps in place of what starts there", { weur: [target(2)], enam: [] }, [goes(1), goes(2), comes(3, "starting", "weur")], [target(2)]],
  ["those that it does not", { weur: [target(1)], enam: [target(1)] }, [goes(1), goes(2)], [target(1, { staying: 2 })]],
  ["none that is not ready itself, or not heard", { weur: [], enam: [target(2)] }, [{ ...goes(1), phase: "starting" }, { ...goes(2), reachable: false }], []],
])("on hosts that leave a region stay %s", (_, regions, replicas, weur) => {
  expect(stay(regions, [{ version: 1, digest: "d1", count: 2 }], replicas).weur).toEqual(weur);
});

test("assign() lets so many serve on, though none is wanted in the region, and starts none", () => {
  const fleet = new Fleet().on(host("h1"), host("h2")).want(task("chat", "a"), 2);
  fleet.plan();
  fleet.set("ready", "chat.local.1", "chat.local.2").on(host("h1", { usable: false, leaving: true }), host("h2", { usable: false, leaving: true }));
  expect(fleet.wantAll("chat", { task: task("chat", "a"), count: 0, staying: 2 }).plan().unplaced).toEqual([]);
  expect(fleet.all().length).toBe(2);
  fleet.wantAll("chat", { task: task("chat", "a"), count: 0, staying: 1 }).plan();
  expect(fleet.all().length).toBe(1);
  fleet.wantAll("chat", { task: task("chat", "a"), count: 0 }).plan();
  expect(fleet.all()).toEqual([]);
});
