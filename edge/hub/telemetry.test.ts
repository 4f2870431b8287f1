import { describe, expect, test } from "vitest";
import { bucketOf, cellSize, cellsMax, digestBoundsMs, toldSchema } from "../../schema/telemetry.ts";
import { everything, full, told } from "../../test/traffic.ts";
import { endedAt } from "../telemetry/tally.ts";
import { changesOf, Journal } from "./journal.ts";
import { Traffic } from "./telemetry.ts";

describe("Traffic", () => {
  test("adds up what several isolates tell, and takes an isolate's newest gauges", () => {
    const traffic = full();
    traffic.merge({ ...everything, isolate: "two", breakers: [] }, 2_000);
    traffic.merge(told((tally) => tally.of("chat", "gpus").ended(endedAt.ok)), 3_000);
    const { cells, inFlight, breakers } = traffic.counted(3_000);
    expect(cells.find(({ upstream }) => upstream === "gpus")?.counts[endedAt.ok]).toBe(3);
    expect(inFlight).toEqual([{ service: "chat", upstream: "vendor", count: 2 }]);
    expect(breakers).toEqual([]);
  });

  test("forgets how things stood with an isolate that tells no more", () => {
    expect(full().counted(61_000).inFlight).toHaveLength(1);
    expect(full().counted(61_001)).toMatchObject({ inFlight: [], breakers: [] });
  });

  test("believes what it was told before its clock was set back no longer than anything else", () => {
    const traffic = full();
    traffic.merge(told(() => undefined, { isolate: "late", held: [{ service: "chat", count: 9 }] }), 3_600_000);
    expect(traffic.demand("chat", "gpus", 2_000).held).toBe(full().demand("chat", "gpus", 2_000).held);
    expect(traffic.counted(2_000).held).toEqual(full().counted(2_000).held);
    traffic.asked("chat.local.1", "chat", 100, 3_600_000);
    traffic.asked("chat.local.1", "chat", 120, 2_000);
    traffic.asked("chat.local.1", "chat", 220, 12_000);
    expect(traffic.counted(12_000).qps.find(({ replica }) => replica === "chat.local.1")?.qps).toBe(10);
  });

  test("versions() adds up what isolates saw of a service's versions, and keeps the latest of them", () => {
    const traffic = new Traffic();
    const saw = (version: number, answers: number, failures: number, service = "chat") => ({ service, version, answers, failures, ttft: [answers, 0, 0] });
    traffic.merge(told(() => undefined, { versions: [saw(1, 10, 0), saw(2, 3, 4)] }), 0);
    traffic.merge(told(() => undefined, { isolate: "two", versions: [saw(2, 1, 1), saw(2, 9, 9, "other")] }), 0);
    expect(traffic.versions("chat").map(({ version, answers, failures, ttft }) => [version, answers, failures, ttft[0], ttft.length])).toEqual([[1, 10, 0, 10, digestBoundsMs.ttft.length + 1], [2, 4, 5, 4, digestBoundsMs.ttft.length + 1]]);
    for (let version = 3; version < 9; version++) traffic.merge(told(() => undefined, { versions: [saw(version, 1, 0)] }), 0);
    expect(traffic.versions("chat").map(({ version }) => version)).toEqual([5, 6, 7, 8]);
    for (let i = 0; i < 600; i++) traffic.merge(told(() => undefined, { versions: [saw(1, 1, 0, `s${i}`)] }), 0);
    expect([traffic.versions("chat"), traffic.versions("s599")]).toEqual([[], [expect.objectContaining({ answers: 1 })]]);
    expect(traffic.versions("none")).toEqual([]);
  });

  test("demand() adds up one service's upstreams: digests of its own replicas, without what had waited for one", () => {
    const traffic = full();
    const lacking = told((tally) => {
      tally.of("chat", "").add("arrivals", 4);
      tally.of("chat", "").lack("refused");
      tally.of("chat", "vendor").lack("spilled");
      tally.of("chat", "vendor").took("ttft", 40);
      tally.of("chat", "gpus").took("ttft", 40);
      tally.of("chat", "gpus").took("ttft", 9_000);
      tally.of("chat", "gpus").tookHeld(9_000);
      tally.of("other", "gpus").add("arrivals", 9);
    }, { isolate: "two", held: [{ service: "chat", count: 2 }, { service: "other", count: 7 }], spilled: [{ service: "chat", count: 5 }] });
    traffic.merge(lacking, 2_000);
    const { ttft, itl, ...sums } = traffic.demand("chat", "gpus", 3_000);
    expect(sums).toEqual({ arrivals: 7, refused: 2, spilled: 2, held: 5, spilledInFlight: 6 });
    const counted = (counts: readonly number[]): number[] => counts.flatMap((count, bucket) => Array.from({ length: count }, () => bucket));
    expect([counted(ttft), counted(itl)]).toEqual([[bucketOf(digestBoundsMs.ttft, 40), bucketOf(digestBoundsMs.ttft, 40)], [bucketOf(digestBoundsMs.itl, 9)]]);
    // the isolate "one" was last heard at 1 s
    expect(traffic.demand("chat", "gpus", 61_500)).toMatchObject({ arrivals: 7, held: 2, spilledInFlight: 5 });
    expect(traffic.demand("nobody", "gpus", 3_000)).toMatchObject({ arrivals: 0, held: 0 });
  });

  test("understands a router that knows fewer counts, or more", () => {
    const traffic = new Traffic();
    const counts = (size: number): Uint32Array => new Uint32Array(size).fill(1);
    for (const size of [3, cellSize + 40]) traffic.merge(toldSchema.parse({ isolate: "one", cells: [{ service: "chat", upstream: "", counts: counts(size) }], inFlight: [], breakers: [], more: 1 }), 0);
    const [cell] = traffic.counted(0).cells;
    expect([cell?.counts[0], cell?.counts[5], cell?.counts.length]).toEqual([2, 1, cellSize]);
  });

  test("shows the last minute and no more", () => {
    const traffic = full();
    expect(traffic.rows(2_000, 0)).toMatchObject([{ service: "chat", upstream: "gpus", windowMs: 5_000, requests: 7, errors: 2 }, { service: "", upstream: "", requests: 1, errors: 0 }]);
    expect(traffic.rows(59_000, 0)).toHaveLength(2);
    expect(traffic.rows(65_000, 0)).toEqual([]);
  });

  test("keeps its cells within bounds: the one not heard of for longest goes", () => {
    const traffic = new Traffic();
    for (let i = 0; i <= cellsMax.kept; i++) traffic.merge(told((tally) => tally.of(`s${i}`, "").add("arrivals", 1)), i);
    const services = traffic.counted(0).cells.map(({ service }) => service);
    expect([services.length, services.includes("s0"), services.includes("s1")]).toEqual([cellsMax.kept, false, true]);
  });

  test("measures a replica's rate over ten seconds, and through its agent's restart", () => {
    const traffic = full();
    traffic.asked("chat.local.1", "chat", 1_000, 12_000);
    expect(traffic.counted(12_000).qps).toMatchObject([{ qps: 5 }]);
    traffic.asked("chat.local.1", "chat", 20, 21_000);
    expect(traffic.counted(21_000).qps).toMatchObject([{ qps: 2 }]);
    expect(traffic.counted(60_000).qps).toEqual([]);
  });

  test.each([{ cells: [{ service: "chat", upstream: "", counts: [1, 2] }] }, { cells: Array.from({ length: cellsMax.told + 1 }, () => ({ service: "x", upstream: "", counts: new Uint32Array(1) })) }, { isolate: "x".repeat(65) }, { breakers: [{ service: "chat", id: "x", state: "shut" }] }])("is not told nonsense", (wrong) => {
    expect(toldSchema.safeParse({ ...everything, ...wrong }).success).toBe(false);
  });
});

describe("Journal", () => {
  const replica = (number: number, digest = "d"): Parameters<typeof changesOf>[0][number] => ({ id: `chat.local.${number}`, service: "chat", number, version: 2, digest });
  test("says what came to a host and what left it", () => {
    expect(changesOf([replica(1), replica(2)], [replica(2), replica(3)], "box", 5).map(({ action, text: said }) => [action, said])).toEqual([["withdraw", "chat.local.1 of version 2 is taken from box"], ["place", "chat.local.3 of version 2 is placed on box"]]);
    expect(changesOf([replica(1)], [replica(1, "new")], "box", 5)).toMatchObject([{ action: "place" }]);
    expect(changesOf([replica(1)], [replica(1)], "box", 5)).toEqual([]);
  });

  test("tells the same lack once, and gives what is new after a place", () => {
    const journal = new Journal();
    const lack = [{ service: "chat", count: 1, reason: "no host is free" }];
    expect([journal.unplaced(lack, 1), journal.unplaced(lack, 2), journal.unplaced([], 3), journal.unplaced(lack, 4)]).toEqual([["chat"], [], [], ["chat"]]);
    for (const change of changesOf([], [replica(1)], "box", 5)) journal.add(change);
    expect(journal.after(0, "chat", 10)).toMatchObject({ next: 3, entries: [{ at: 1 }, { at: 4 }, { action: "place" }] });
    expect(journal.after(2, "chat", 10).entries).toHaveLength(1);
    expect(journal.after(3, "chat", 10)).toEqual({ next: 3, entries: [] });
    expect(journal.after(0, "chat", 1).entries).toMatchObject([{ action: "place" }]);
    expect(journal.after(0, "other", 10).entries).toEqual([]);
  });

  test("tells all that a service lacks, of whatever kinds, as one", () => {
    const journal = new Journal();
    const lack = (zone: string): Parameters<Journal["unplaced"]>[0][number] => ({ service: "chat", count: 1, reason: `no host in ${zone} is enrolled`, zone });
    expect([journal.unplaced([lack("a"), lack("b")], 1), journal.unplaced([lack("a"), lack("b")], 2), journal.unplaced([lack("b")], 3)]).toEqual([["chat"], [], ["chat"]]);
    expect(journal.after(0, "chat", 10).entries.map(({ text: said }) => said)).toEqual(["1 without a host: no host in a is enrolled; 1 without a host: no host in b is enrolled", "1 without a host: no host in b is enrolled"]);
  });

  test("is bounded, and its places go on", () => {
    const journal = new Journal();
    for (let at = 0; at < 1_500; at++) journal.add({ at, service: "chat", action: "place", text: "" });
    expect(journal.after(0, "chat", 5_000).entries).toHaveLength(1_000);
    expect(journal.after(1_499, "chat", 5_000)).toMatchObject({ next: 1_500, entries: [{ at: 1_499 }] });
  });
});
