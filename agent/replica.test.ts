import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seeded } from "../schema/clock.ts";
import { canBecome, isOver } from "../schema/replica.ts";
import { newReplica, refusedReplica, step, type Effect, type Event, type Replica, type Rules } from "./replica.ts";

const rules: Rules = { probe: { path: "/", initialDelayMs: 10_000, timeoutMs: 1000, intervalMs: 10_000, failureThresholdMs: 5_000, headers: {} } };
const assigned = { id: "chat.local.1", service: "chat", number: 1, version: 1, digest: "d" };

/** A replica on virtual time: events in, effects kept. */
function life(chance = 1 - 1e-9) {
  let replica: Replica = newReplica(assigned, 0);
  let now = 0;
  const effects: Effect[] = [];
  const world = {
    get replica() {
      return replica;
    },
    get now() {
      return now;
    },
    /** The effects since the last look. */
    effects: () => effects.splice(0).map((effect) => effect.do),
    tell(event: Event) {
      const result = step(replica, event, now, () => chance, rules);
      replica = result.replica;
      effects.push(...result.effects);
      return world;
    },
    pass(ms: number) {
      now += ms;
      return world.tell({ type: "tick" });
    },
    started: () => world.tell({ type: "tick" }).tell({ type: "running", start: replica.start, stage: "run", port: 1000, pid: 7 }),
    probed: (ok: boolean, detail = "/ answered 500") => world.tell({ type: "probed", start: replica.start, ok, detail }),
    ready: () => world.started().pass(500).probed(true),
    exited: (code: number, lastLine?: string) => world.tell({ type: "exited", start: replica.start, during: "run", code, lastLine }),
    sleep: (drainMs = 30_000) => world.tell({ type: "sleep", drainMs, settleMs: 2_000 }),
    slept: (problem?: string, awake?: boolean) => world.tell({ type: "slept", start: replica.start, problem, awake }),
    asleep: () => world.ready().sleep().pass(2_000).slept(),
    wake: () => world.pass(Math.max(0, (replica.wakeAt ?? now) - now)),
  };
  return world;
}

describe("step()", () => {
  test("goes from pending over starting to ready, probing every 500 ms and then every interval", () => {
    const one = life();
    one.tell({ type: "tick" });
    expect(one.effects()).toEqual(["start"]);
    one.tell({ type: "running", start: 1, stage: "setup", port: 1000, pid: 7 });
    expect(one.replica).toMatchObject({ phase: "starting", reason: "setup is running", restarts: 0 });
    one.tell({ type: "running", start: 1, stage: "run", port: 1000, pid: 8 }).pass(500);
    expect(one.effects()).toEqual(["probe"]);
    one.probed(false, "nothing listens on its port yet");
    expect(one.replica.reason).toBe("waiting for its readiness probe: nothing listens on its port yet");
    one.pass(500).probed(true);
    expect(one.replica).toMatchObject({ phase: "ready", reason: undefined, wasReady: true, wakeAt: 11_000 });
  });

  test("is provisioning while what it needs is being got, and says how far that is", () => {
    const one = life();
    one.tell({ type: "tick" });
    const told = (what: string) => one.tell({ type: "preparing", start: 1, what }).replica;
    expect(told("pulling x:1: 12 %")).toMatchObject({ phase: "provisioning", reason: "pulling x:1: 12 %" });
    expect(told("pulling x:1: 43 %")).toMatchObject({ phase: "provisioning", reason: "pulling x:1: 43 %", since: 0 });
    one.tell({ type: "running", start: 1, stage: "run", port: 1000, pid: undefined });
    expect(one.replica).toMatchObject({ phase: "starting", pid: undefined });
    // at a later start it stays what it was
    one.exited(1).wake();
    one.tell({ type: "preparing", start: 2, what: "pulling x:1: 2 %" });
    expect(one.replica).toMatchObject({ phase: "unhealthy", reason: "pulling x:1: 2 %" });

    const refused = life();
    refused.tell({ type: "tick" }).tell({ type: "preparing", start: 1, what: "pulling x:1" }).tell({ type: "refused", start: 1, reason: "no such image", wait: false });
    expect(refused.replica).toMatchObject({ phase: "unhealthy", failedStarts: 1, reason: "no such image" });

    const dropped = life();
    dropped.tell({ type: "tick" }).tell({ type: "preparing", start: 1, what: "pulling x:1" }).effects();
    dropped.tell({ type: "drain", reason: "it is no longer assigned to this host", drainMs: 1000 });
    expect([dropped.replica.phase, dropped.effects()]).toEqual(["stopping", ["stop"]]);
  });

  test.each([
    ["certain", "SIGKILL", "was killed by SIGKILL: out of memory: loading"],
    ["likely", "SIGKILL", "was killed by SIGKILL (out of memory?): loading"],
    [undefined, "SIGKILL", "was killed by SIGKILL: loading"],
    ["certain", undefined, "exited with code 1: out of memory: loading"],
  ] as const)("says of an end for want of memory (%s, %s) that it was one", (outOfMemory, signal, reason) => {
    const one = life();
    one.started().tell({ type: "exited", start: 1, during: "run", code: signal === undefined ? 1 : undefined, signal, lastLine: "loading", outOfMemory });
    expect(one.replica.reason).toBe(reason);
  });

  test("gives up after three starts that failed, with the last line of the log", () => {
    const one = life();
    one.started().exited(1, "no module named vllm");
    expect(one.replica).toMatchObject({ phase: "unhealthy", reason: "exited with code 1: no module named vllm", port: undefined });
    one.wake().started().exited(1).wake().started().exited(1, "no module named vllm");
    expect(one.replica).toMatchObject({ phase: "failed", restarts: 2, reason: "it failed to start 3 times: exited with code 1: no module named vllm" });
    expect(one.wake().effects()).toEqual(["start", "start", "start"]);
  });

  test("starts one that was ready again for ever, later and later up to a minute", () => {
    const one = life();
    one.ready();
    const waits: number[] = [];
    for (let i = 0; i < 9; i++) {
      one.tell({ type: "exited", start: one.replica.start, during: "run", signal: "SIGKILL" });
      expect(one.replica).toMatchObject({ phase: "unhealthy", restarts: i });
      expect(one.replica.reason).toMatch(/was killed by SIGKILL/);
      waits.push((one.replica.wakeAt ?? 0) - one.now);
      one.wake().started();
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  test("takes the next failure for a first one after a minute of being ready", () => {
    const one = life();
    one.ready().exited(1).wake().ready();
    expect(one.replica.attempt).toBe(1);
    one.pass(60_000).exited(1);
    expect((one.replica.wakeAt ?? 0) - one.now).toBe(1000);
  });

  test("kills one that is not ready in time, counted from its first failed probe", () => {
    const one = life();
    one.started().pass(500).probed(false);
    for (let i = 0; i < 21; i++) one.pass(500).probed(false, "/ answered 503");
    expect(one.replica).toMatchObject({ phase: "unhealthy", processes: "ending", reason: "it was not ready within 10s, / answered 503" });
    expect(one.effects().at(-1)).toBe("stop");
    one.tell({ type: "ended" });
    expect(one.replica).toMatchObject({ phase: "unhealthy", processes: "none", failedStarts: 1 });
  });

  test("is unhealthy at the first failed probe, ready again at the next good one, killed when it goes on", () => {
    const one = life();
    one.ready().pass(10_000).probed(false);
    expect(one.replica).toMatchObject({ phase: "unhealthy", reason: "its readiness probe fails: / answered 500" });
    one.pass(2_000).probed(true);
    expect(one.replica.phase).toBe("ready");
    one.pass(10_000).probed(false).pass(2_000).probed(false).pass(2_000).probed(false);
    expect(one.replica.processes).toBe("run");
    one.pass(2_000).probed(false);
    expect(one.replica).toMatchObject({ phase: "unhealthy", processes: "ending", reason: "its readiness probe failed for 6s, / answered 500" });
    one.tell({ type: "ended" }).wake();
    expect(one.effects().at(-1)).toBe("start");
  });

  test("waits for a port that is in use, without taking it for a failure", () => {
    const one = life();
    one.tell({ type: "tick" });
    for (let i = 0; i < 5; i++) {
      one.tell({ type: "refused", start: one.replica.start, reason: "port 8080 is in use by another program on this host", wait: true });
      expect(one.replica).toMatchObject({ phase: "pending", reason: "port 8080 is in use by another program on this host" });
      one.wake();
    }
    one.tell({ type: "running", start: one.replica.start, stage: "run", port: 8080, pid: 1 });
    expect(one.replica).toMatchObject({ phase: "starting", restarts: 0 });
  });

  test("counts a start that is impossible as a failed one", () => {
    const one = life();
    for (let i = 0; i < 3; i++) one.wake().tell({ type: "refused", start: one.replica.start, reason: "its workdir /x is no folder", wait: false });
    expect(one.replica).toMatchObject({ phase: "failed", reason: "it failed to start 3 times: its workdir /x is no folder" });
  });

  test("drains until nothing is in flight, then stops", () => {
    const one = life();
    one.ready().tell({ type: "carrying", inFlight: 2 }).tell({ type: "drain", reason: "no longer assigned", drainMs: 30_000 });
    expect(one.replica).toMatchObject({ phase: "draining", reason: "no longer assigned" });
    one.tell({ type: "carrying", inFlight: 1 });
    expect(one.replica.phase).toBe("draining");
    one.tell({ type: "carrying", inFlight: 0 });
    expect(one.replica.phase).toBe("stopping");
    expect(one.effects().at(-1)).toBe("stop");
    one.tell({ type: "ended" });
    expect(one.replica).toMatchObject({ phase: "stopped", reason: "no longer assigned", wakeAt: undefined });
  });

  test("stops when its drain time is over, though requests are in flight", () => {
    const one = life();
    one.ready().tell({ type: "carrying", inFlight: 2 }).tell({ type: "drain", reason: "x", drainMs: 1_000 }).pass(1_000);
    expect(one.replica).toMatchObject({ phase: "stopping", reason: "2 requests were still in flight when its drain time was over" });
  });

  test("sleeps when nothing is in flight any more, is not probed, and wakes when it has answered", () => {
    const one = life();
    one.ready().tell({ type: "carrying", inFlight: 1 }).sleep();
    expect(one.replica).toMatchObject({ phase: "sleeping", reason: "it falls asleep when nothing is in flight" });
    one.pass(5_000);
    one.effects();
    one.tell({ type: "carrying", inFlight: 0 });
    expect(one.effects()).toEqual(["sleep"]);
    one.slept();
    expect(one.replica).toMatchObject({ phase: "sleeping", reason: "its weights are in the host's memory", wakeAt: undefined });
    expect(one.pass(60_000).effects()).toEqual([]);
    one.tell({ type: "wake" });
    expect(one.replica).toMatchObject({ phase: "sleeping", reason: "it is waking" });
    expect(one.tell({ type: "wake" }).effects()).toEqual(["wake"]);
    one.tell({ type: "woken", start: one.replica.start });
    expect(one.replica).toMatchObject({ phase: "ready", reason: undefined, restarts: 0, wakeAt: one.now + 10_000 });
    expect(one.pass(10_000).effects()).toEqual(["probe"]);
  });

  test("takes what comes for two seconds before it sleeps, and sleeps when its drain time is over, though something is in flight", () => {
    const one = life();
    one.ready().effects();
    expect(one.sleep().pass(1_999).effects()).toEqual([]);
    one.tell({ type: "carrying", inFlight: 1 });
    expect(one.pass(1).effects()).toEqual([]);
    expect(one.pass(28_000).effects()).toEqual(["sleep"]);
  });

  test("is ready at once when it is wanted awake before it sleeps, and wakes right after when it is told while it falls asleep", () => {
    const one = life();
    one.ready().sleep().tell({ type: "wake" });
    expect(one.replica).toMatchObject({ phase: "ready", reason: undefined });
    one.effects();
    one.sleep().pass(2_000).tell({ type: "wake" });
    expect(one.effects()).toEqual(["sleep"]);
    expect(one.slept().effects()).toEqual(["wake"]);
  });

  test("goes on as it was when its engine cannot sleep, says so, and is not asked again by this start", () => {
    const one = life();
    one.ready().sleep().pass(2_000).slept("/sleep answered 404", true);
    expect(one.replica).toMatchObject({ phase: "ready", reason: "it cannot be put to sleep: /sleep answered 404" });
    one.effects();
    expect(one.sleep().pass(2_000).effects()).toEqual([]);
    one.exited(1).wake().ready().effects();
    expect(one.sleep().pass(2_000).effects()).toEqual(["sleep"]);
  });

  test.each([
    ["nobody knows whether it sleeps", (one: ReturnType<typeof life>) => one.ready().sleep().pass(2_000).slept("/sleep answered 500", false), "it was told to sleep: /sleep answered 500"],
    ["it does not answer after it woke", (one: ReturnType<typeof life>) => one.asleep().tell({ type: "wake" }).tell({ type: "woken", start: one.replica.start, problem: "its first answer failed with 500" }), "it was woken: its first answer failed with 500"],
  ])("is started again when %s", (_, happen, reason) => {
    const one = life();
    happen(one);
    expect(one.replica).toMatchObject({ phase: "unhealthy", processes: "ending", reason });
    one.effects();
    expect(one.tell({ type: "ended" }).wake().effects()).toEqual(["start"]);
  });

  test("is started again when it dies asleep, and stops at once when it is drained asleep", () => {
    const died = life().asleep().exited(137);
    expect(died.replica).toMatchObject({ phase: "unhealthy", reason: "exited with code 137" });
    const drained = life().asleep().tell({ type: "drain", reason: "no longer assigned", drainMs: 30_000, settleMs: 2_000 });
    expect(drained.replica).toMatchObject({ phase: "stopping", reason: "no longer assigned" });
    const falling = life().ready().tell({ type: "carrying", inFlight: 1 }).sleep().tell({ type: "drain", reason: "no longer assigned", drainMs: 30_000 });
    expect(falling.tell({ type: "carrying", inFlight: 0 }).replica).toMatchObject({ phase: "stopping" });
  });

  test("fails when its processes would not end", () => {
    const one = life();
    one.ready().tell({ type: "drain", reason: "x", drainMs: 1 }).tell({ type: "ended", problem: "1 of its processes would not end, the first is 7" });
    expect(one.replica).toMatchObject({ phase: "failed", reason: "1 of its processes would not end, the first is 7" });
  });

  test("takes news of an earlier start for nothing", () => {
    const one = life();
    one.ready().exited(1).wake().started();
    const before = one.replica;
    one.tell({ type: "exited", start: 1, during: "run", code: 0 }).tell({ type: "probed", start: 1, ok: true });
    expect(one.replica).toEqual(before);
  });

  test("keeps reasons to 300 characters", () => {
    expect(life().started().exited(1, "x".repeat(1000)).replica.reason).toHaveLength(300);
    expect(refusedReplica(assigned, "y".repeat(1000), 0)).toMatchObject({ phase: "failed", reason: expect.stringMatching(/^y{299}…$/) });
  });

  test("makes only allowed transitions, whatever comes in whatever order", () => {
    const start = fc.integer({ min: 0, max: 3 });
    const event = fc.oneof<fc.Arbitrary<Event>[]>(
      fc.constant({ type: "tick" }),
      start.map((n) => ({ type: "running", start: n, stage: "run", port: 1, pid: 1 })),
      start.map((n) => ({ type: "running", start: n, stage: "setup", port: 1, pid: 1 })),
      fc.tuple(start, fc.boolean()).map(([n, wait]) => ({ type: "refused", start: n, reason: "r", wait })),
      start.map((n) => ({ type: "exited", start: n, during: "run", code: 1 })),
      fc.tuple(start, fc.boolean()).map(([n, ok]) => ({ type: "probed", start: n, ok })),
      fc.constant({ type: "drain", reason: "d", drainMs: 1000 }),
      fc.constant({ type: "sleep", drainMs: 1000, settleMs: 100 }),
      fc.constant({ type: "wake" }),
      fc.tuple(start, fc.boolean(), fc.boolean()).map(([n, good, awake]) => ({ type: "slept", start: n, awake, ...(good ? {} : { problem: "p" }) })),
      fc.tuple(start, fc.boolean()).map(([n, good]) => ({ type: "woken", start: n, ...(good ? {} : { problem: "p" }) })),
      fc.nat(2).map((inFlight) => ({ type: "carrying", inFlight })),
      fc.constant({ type: "ended" }),
      fc.constant({ type: "ended", problem: "p" }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.integer({ min: 0, max: 20_000 })), { maxLength: 60 }), fc.integer(), (events, seed) => {
        let replica = newReplica(assigned, 0);
        let now = 0;
        let alive = 0;
        for (const [one, wait] of events) {
          now += wait;
          const phase = replica.phase;
          const result = step(replica, one, now, seeded(seed), rules);
          replica = result.replica;
          // two transitions may be made at once; each is checked where it is made
          if (phase !== replica.phase && !isOver(phase)) expect(canBecome(phase, replica.phase) || ["starting", "stopping"].some((via) => canBecome(phase, via as "starting") && canBecome(via as "starting", replica.phase))).toBe(true);
          if (isOver(phase)) expect(replica.phase).toBe(phase);
          alive += result.effects.filter((effect) => effect.do === "start").length;
        }
        expect(replica.start).toBe(alive);
      }),
    );
  });
});
