import { describe, expect, test } from "vitest";
import { FairleadError } from "../../schema/errors.ts";
import { replicaRow } from "../../test/replicaRow.ts";
import type { Failure } from "./outcome.ts";
import { Standings, type Upstreams } from "./standing.ts";

const middle = (): number => 0.5;
const error = new FairleadError("provider_error", "Cannot");
const lost: Failure = { kind: "lost", why: "" };
const path = "/v1/chat/completions";
const listed = (replicas: string[], providers: string[] = []): Upstreams => ({ replicas: replicas.map((id) => replicaRow(id)), providers: providers.map((name) => ({ name })) });

function failing(standings: Standings, id: string, failure: Failure, now = 0, times = 3): void {
  for (let i = 0; i < times; i++) standings.failed(id, path, failure, now, now, middle);
}

function blockedOf(standings: Standings, upstreams: Upstreams, now: number, at = path): Record<string, string> {
  const survey = standings.survey(upstreams, at, now);
  const ids = [...upstreams.replicas.map(({ replica }) => replica.id), ...upstreams.providers.map(({ name }) => name)];
  return Object.fromEntries(ids.flatMap((id) => (survey?.blocked.has(id) === true ? [[id, survey.blocked.get(id) ?? ""]] : [])));
}

describe("Standings", () => {
  test("while nothing is wrong there is nothing to look at", () => {
    const standings = new Standings();
    standings.answered("a", 0, 0);
    expect(standings.survey(listed(["a", "b"]), path, 0)).toBeUndefined();
  });

  test("troubles() tells of breakers that are not closed, and how they stand", () => {
    const standings = new Standings();
    failing(standings, "a", lost);
    failing(standings, "b", { kind: "throttled", retryAfterMs: 1_000, error });
    expect([...standings.troubles(10)]).toEqual([{ id: "a", state: "open" }]);
    expect([...standings.troubles(10_000)]).toEqual([{ id: "a", state: "half_open" }]);
    standings.answered("a", 10_000, 10_000);
    expect([...standings.troubles(10_001)]).toEqual([{ id: "a", state: "recovering" }]);
    expect([...standings.troubles(60_000)]).toEqual([]);
  });

  test.each<[string, Failure, number, boolean]>([
    ["no carriage", { kind: "unsent", why: "" }, 3, true],
    ["silence of all ways to its host", { kind: "unsent", why: "", silent: "host" }, 3, true],
    ["silence of one way to its host", { kind: "unsent", why: "", silent: "relay" }, 9, false],
    ["a lost connection", lost, 3, true],
    ["silence", { kind: "timeout", why: "" }, 3, true],
    ["500", { kind: "unable", status: 500, error }, 3, true],
    ["two failures", lost, 2, false],
    ["409", { kind: "unable", status: 409, error }, 3, false],
    ["the caller's fault", { kind: "caller", error }, 3, false],
    ["a prompt that is too long", { kind: "context_length", error }, 3, false],
    ["refused content", { kind: "content_filter", error }, 3, false],
    ["attempts that were given up", { kind: "abandoned" }, 3, false],
  ])("after %s it is left out: %#", (_, failure, times, out) => {
    const standings = new Standings();
    failing(standings, "a", failure, 0, times);
    expect(blockedOf(standings, listed(["a", "b"]), 1)).toEqual(out ? { a: "its breaker is open" } : {});
  });

  test.each([[1, 2], [2, 4]])("at most half of a pool is left out: %d of %d are", (out, of) => {
    const ids = Array.from({ length: of }, (_, i) => `r${i}`);
    const standings = new Standings();
    for (const id of ids.slice(0, out)) failing(standings, id, lost);
    expect(Object.keys(blockedOf(standings, listed(ids), 1))).toHaveLength(out);
    failing(standings, ids[out] ?? "", lost);
    expect(blockedOf(standings, listed(ids), 1)).toEqual({});
    // they are asked after those that work, though
    expect(ids.map((id) => standings.survey(listed(ids), path, 1)?.lastResort(id))).toEqual(ids.map((_, i) => i <= out));
  });

  test("what cannot be used stands in for nobody: the only replica that is ready is asked, whatever its breaker", () => {
    const standings = new Standings();
    failing(standings, "a", lost);
    const others = [replicaRow("b", { replica: { phase: "starting" } }), replicaRow("c", { host: { linkUp: false } })];
    const upstreams = { replicas: [replicaRow("a"), ...others], providers: [] };
    expect(blockedOf(standings, upstreams, 1)).toEqual({});
    expect(standings.survey(upstreams, path, 1)?.lastResort("a")).toBe(true);
    expect(blockedOf(standings, { ...upstreams, providers: [{ name: "vendor" }] }, 1)).toEqual({ a: "its breaker is open" });
  });

  test("for a request that others have failed, they are out too: it is sent past the breakers of those that are left", () => {
    const standings = new Standings();
    failing(standings, "a", lost);
    const blocked = (tried: string[], ids = ["a", "b", "c", "d"]): string | undefined => standings.survey(listed(ids), path, 1, tried)?.blocked.get("a");
    expect(blocked(["b"])).toBe("its breaker is open");
    expect(blocked(["a", "gone"])).toBe("its breaker is open");
    expect(blocked(["b", "c"])).toBeUndefined();
    expect(standings.survey(listed(["a", "b", "c", "d"]), path, 1, ["b", "c"])?.lastResort("a")).toBe(true);
    failing(standings, "a", { kind: "timeout", why: "" }, 10_000);
    expect(standings.survey(listed(["a", "b", "c", "d"]), path, 10_001, ["b", "c"])?.blocked.get("a")).toBe("its breaker is open");
  });

  test("what is silent is left out however many are: each try would cost its caller the time", () => {
    const standings = new Standings();
    for (const id of ["a", "b"]) failing(standings, id, { kind: "timeout", why: "" });
    expect(Object.keys(blockedOf(standings, listed(["a", "b"]), 1))).toEqual(["a", "b"]);
  });

  test("one request may probe after its time, and an answer brings it back with a growing share", () => {
    const standings = new Standings();
    failing(standings, "a", lost);
    const upstreams = listed(["a", "b"]);
    expect(blockedOf(standings, upstreams, 5_000)).toEqual({});
    standings.began("a", 5_000);
    expect(blockedOf(standings, upstreams, 5_001)).toEqual({ a: "its breaker is open" });
    standings.answered("a", 5_100, 5_000);
    expect(standings.survey(upstreams, path, 10_100)?.pressure("a")).toBe(0.5);
    expect(standings.survey(upstreams, path, 10_100)?.pressure("b")).toBe(1);
    expect(standings.survey(upstreams, path, 15_100)).toBeUndefined();
  });

  test("a provider is probed within ten seconds; a replica with others beside it waits its time", () => {
    const standings = new Standings();
    const upstreams = listed(["a", "b", "c"], ["vendor"]);
    let now = 0;
    for (const id of ["a", "vendor"]) failing(standings, id, lost, now);
    for (let i = 0; i < 3; i++) {
      now += 60_000;
      for (const id of ["a", "vendor"]) {
        standings.began(id, now);
        standings.failed(id, path, lost, now, now, middle);
      }
    }
    expect(Object.keys(blockedOf(standings, upstreams, now + 9_999))).toEqual(["a", "vendor"]);
    expect(Object.keys(blockedOf(standings, upstreams, now + 10_000))).toEqual(["a"]);
    expect(Object.keys(blockedOf(standings, upstreams, now + 40_000))).toEqual([]);
  });

  test.each([[7_000, 7_000], [undefined, 1_000]])("one that asks to be left alone for %s ms is, for %d ms, and its breaker stays closed", (retryAfterMs, ms) => {
    const standings = new Standings();
    failing(standings, "a", { kind: "throttled", retryAfterMs, error }, 0, 20);
    const upstreams = listed(["a", "b"]);
    expect(blockedOf(standings, upstreams, ms - 1)).toEqual({ a: "it is at its limit" });
    expect(standings.survey(upstreams, path, 0)).toMatchObject({ freeInMs: ms, throttledOnly: true });
    expect(standings.survey(upstreams, path, ms)).toBeUndefined();
  });

  test("all may be parked at once: each of them asked for it", () => {
    const standings = new Standings();
    for (const id of ["a", "b"]) standings.failed(id, path, { kind: "throttled", retryAfterMs: 5_000, error }, 0, 0, middle);
    expect(Object.keys(blockedOf(standings, listed(["a", "b"]), 1))).toEqual(["a", "b"]);
  });

  test("one that refuses our credential is left alone for a minute, one that lacks a path on that path only", () => {
    const standings = new Standings();
    standings.failed("a", path, { kind: "credential", status: 401, error }, 0, 0, middle);
    standings.failed("b", path, { kind: "credential", status: 404, error }, 0, 0, middle);
    const upstreams = listed([], ["a", "b", "c"]);
    expect(Object.keys(blockedOf(standings, upstreams, 59_999))).toEqual(["a", "b"]);
    expect(Object.keys(blockedOf(standings, upstreams, 59_999, "/v1/embeddings"))).toEqual(["a"]);
    expect(standings.survey(upstreams, path, 1)?.throttledOnly).toBe(false);
    expect(standings.survey(upstreams, path, 60_000)).toBeUndefined();
  });

  test("remembers a bounded number of upstreams", () => {
    const standings = new Standings();
    for (let i = 0; i < 5_000; i++) standings.failed(`r${i}`, path, { kind: "throttled", retryAfterMs: 60_000, error }, 0, 0, middle);
    const all = listed(Array.from({ length: 5_000 }, (_, i) => `r${i}`));
    expect(Object.keys(blockedOf(standings, all, 1))).toHaveLength(1_024);
  });
});
