import { describe, expect, test } from "vitest";
import { rolloutPolicySchema } from "../../schema/policy.ts";
import type { Phase } from "../../schema/replica.ts";
import type { ScaleReplica, VersionSeen } from "../../schema/scale.ts";
import { digestBoundsMs } from "../../schema/telemetry.ts";
import { rollout, type Rollout, type RolloutFacts, type RolloutState, type VersionRef } from "./rollout.ts";

const v1: VersionRef = { version: 1, digest: "a" };
const v2: VersionRef = { version: 2, digest: "b" };
const v3: VersionRef = { version: 3, digest: "c" };

/** So many attempts on a version, each answer's first token after `ttftMs`. */
function seen(version: number, answers: number, failures = 0, ttftMs = 50): VersionSeen {
  const ttft = Array.from({ length: digestBoundsMs.ttft.length + 1 }, () => 0);
  ttft[digestBoundsMs.ttft.findIndex((bound) => ttftMs <= bound)] = answers;
  return { version, answers, failures, ttft };
}

/** A service that lives: what is wanted is assigned, and becomes what the test says. */
class Service {
  now = 1_000_000;
  policy = rolloutPolicySchema.parse({});
  facts: RolloutFacts = { current: v1, desired: 4, replicas: [], seen: [] };
  state: RolloutState | undefined;
  last: Rollout | undefined;
  readonly said: string[] = [];
  #number = 0;

  constructor(policy: Parameters<typeof rolloutPolicySchema.parse>[0] = {}, desired = 4) {
    this.policy = rolloutPolicySchema.parse(policy);
    this.facts.desired = desired;
    this.look();
    this.become("a", "ready").look();
  }

  /** Look, and assign what is wanted; of what is wanted no more, everything goes but what rolls away. */
  look(afterMs = 0): this {
    this.now += afterMs;
    const at = rollout(this.policy, this.facts, this.state === undefined ? undefined : (JSON.parse(JSON.stringify(this.state)) as RolloutState), this.now);
    this.last = at;
    this.state = at.state;
    if (at.action !== undefined) this.said.push(`${at.action.action}: ${at.action.reason}`);
    let replicas = [...this.facts.replicas];
    for (const [i, { digest, version, count }] of at.wanted.entries()) {
      const own = replicas.filter((replica) => replica.digest === digest).map((replica) => ({ ...replica, version }));
      const kept = own.toSorted((a, b) => Number(b.phase === "ready") - Number(a.phase === "ready")).slice(0, count);
      while (kept.length < count) kept.push(replica(`chat.local.${++this.#number}`, version, digest));
      replicas = [...replicas.filter((one) => one.digest !== digest), ...kept];
      if (i > 0) continue;
      const named = new Set(at.wanted.map((one) => one.digest));
      const old = replicas.filter((one) => !named.has(one.digest)).slice(0, Math.max(0, count - kept.filter(({ phase }) => phase === "ready").length));
      replicas = [...replicas.filter((one) => named.has(one.digest)), ...old];
    }
    this.facts = { ...this.facts, replicas };
    return this;
  }

  update(current: VersionRef, previous: VersionRef | undefined, policy?: Parameters<typeof rolloutPolicySchema.parse>[0]): this {
    if (policy !== undefined) this.policy = rolloutPolicySchema.parse(policy);
    this.facts = { ...this.facts, current, previous };
    return this.look();
  }

  become(digest: string, phase: Phase, count = Number.POSITIVE_INFINITY, reason?: string): this {
    let left = count;
    const replicas = this.facts.replicas.map((one) => (one.digest === digest && one.phase !== phase && left-- > 0 ? { ...one, phase, since: this.now, wasReady: one.wasReady || phase === "ready", ...(reason === undefined ? {} : { reason }) } : one));
    this.facts = { ...this.facts, replicas };
    return this;
  }

  saw(...rows: VersionSeen[]): this {
    this.facts = { ...this.facts, seen: rows };
    return this;
  }

  get counts(): Record<number, number> {
    return Object.fromEntries((this.last?.wanted ?? []).map(({ version, count }) => [version, count]));
  }
}

function replica(id: string, version: number, digest: string): ScaleReplica {
  return { id, number: Number(id.split(".")[2]), version, digest, phase: "starting", since: 0, region: "local", host: "h1", inFlight: 0, wasReady: false, leaving: false, reachable: true };
}

describe("rollout() without another version", () => {
  test("is none: the first version has the whole count and no status", () => {
    const service = new Service();
    expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 4 }] });
    expect(service.last?.status).toBeUndefined();
    expect(service.said).toEqual([]);
  });

  test("a change of configuration restarts nothing and is over at once", () => {
    const service = new Service().update({ version: 2, digest: "a" }, v1);
    expect(service.last?.wanted).toEqual([{ version: 2, digest: "a", count: 4 }]);
    expect(service.last?.status).toMatchObject({ state: "done", version: 2, from: 1 });
    expect(service.look().look(60_000).last?.status).toMatchObject({ state: "done", version: 2 });
    expect(service.said).toEqual(["done: version 2 changes nothing that replicas run: none is restarted"]);
  });

  test("a first version that never gets ready is stuck, and more wanted starts no more of it", () => {
    const service = new Service({}, 0);
    service.facts = { ...service.facts, desired: 2 };
    service.look().become("a", "failed", 2, "exit 1").look();
    expect(service.last?.status).toMatchObject({ state: "stuck", version: 1, reason: "version 1 never got ready: chat.local.1 failed: exit 1; it is not tried again" });
    service.facts = { ...service.facts, desired: 9 };
    expect(service.look().look().counts).toEqual({ 1: 2 });
    expect(service.said).toHaveLength(1);
    // a host's refusal is not the version's failure
    service.facts = { ...service.facts, replicas: service.facts.replicas.map((one) => ({ ...one, refused: true })) };
    expect(service.look().last?.status?.reason).toBe("version 1 never got ready: chat.local.1 failed: exit 1; hosts that would not run it are asked again later");
  });

  test("one that was ready before is started again, however its replicas end", () => {
    const service = new Service().become("a", "failed").look();
    expect(service.last?.status).toBeUndefined();
    expect(service.counts).toEqual({ 1: 4 });
  });
});

describe("rollout(), rolling", () => {
  const half = () => new Service({}, 4).update(v2, v1).become("b", "ready", 1).look();

  test("that fails more than the version before while both serve is taken back, and the old ones that have gone are started again", () => {
    const service = half().saw(seen(1, 60), seen(2, 10, 10)).look(2_000);
    expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 4 }], shares: { 1: 1 }, status: { mode: "rolling", state: "rolled_back", reason: "version 2 was rolled back: 10 of 20 attempts on it failed (50 %), and 0 % on version 1; version 1 serves" } });
    // and is not tried again
    expect(service.become("b", "stopped").look(600_000).last).toMatchObject({ wanted: [{ ...v1, count: 4 }], status: { state: "rolled_back" } });
  });

  test.each<[string, Parameters<typeof rolloutPolicySchema.parse>[0], VersionSeen[]]>([
    ["no more than the version before", {}, [seen(1, 30, 30), seen(2, 10, 11)]],
    ["and was asked too little", {}, [seen(1, 60), seen(2, 10, 2)]],
    ["and the version before was asked too little beside it", {}, [seen(1, 19), seen(2, 0, 40)]],
    ["and is not to be taken back", { rollback: false }, [seen(1, 60), seen(2, 0, 40)]],
    ["not, and is slower", {}, [seen(1, 60, 0, 50), seen(2, 60, 0, 8_000)]],
  ])("that fails %s goes on", (_, policy, rows) => {
    const service = new Service(policy, 4).update(v2, v1).become("b", "ready", 1).look().saw(...rows).look(2_000);
    expect(service.last).toMatchObject({ wanted: [{ ...v2, count: 4 }], status: { state: "progressing", version: 2 } });
    expect(service.last?.shares).toBeUndefined();
    expect(service.become("b", "ready").look().last?.status).toMatchObject({ state: "done" });
  });

  test("is taken back for three failures when it is about to have everything, for breakers keep requests from what is broken", () => {
    const service = half().saw(seen(1, 60), seen(2, 0, 3)).look(2_000);
    expect(service.last?.status).toMatchObject({ state: "progressing" });
    expect(service.become("b", "ready").look().last?.status).toMatchObject({ state: "rolled_back" });
  });

  test("what was seen of either before its first replica was ready counts for nothing", () => {
    const service = new Service({}, 4).update(v2, v1).saw(seen(1, 500), seen(2, 0, 50)).become("b", "ready", 1).look();
    expect(service.saw(seen(1, 560), seen(2, 40, 51)).look(2_000).last?.status).toMatchObject({ state: "progressing" });
  });

  test("the new version has the whole count until it is ready", () => {
    const service = new Service().update(v2, v1);
    expect(service.last).toMatchObject({ wanted: [{ ...v2, count: 4 }], status: { mode: "rolling", state: "progressing", version: 2, from: 1, reason: "version 2 takes the place of version 1: 0 of 4 replicas ready" } });
    expect(service.last?.shares).toBeUndefined();
    expect(service.become("b", "ready", 3).look().last?.status?.reason).toBe("version 2 takes the place of version 1: 3 of 4 replicas ready");
    expect(service.become("b", "ready").look().last?.status).toMatchObject({ state: "done", reason: "version 2 serves" });
    expect(service.last?.nextMs).toBe(Number.POSITIVE_INFINITY);
    expect(service.said).toEqual(["rollout: version 2 takes the place of version 1: 0 of 4 replicas ready", "done: version 2 serves"]);
  });

  test("is over when nothing else is left, though fewer fit than are wanted", () => {
    const service = new Service().update(v2, v1).become("b", "ready", 3).look();
    service.facts = { ...service.facts, replicas: service.facts.replicas.filter(({ digest, phase }) => digest === "b" && phase === "ready") };
    expect(service.look().last?.status?.state).toBe("done");
  });

  test("one that never gets ready is rolled back by itself, with the reason, and is never tried again", () => {
    const service = new Service().update(v2, v1).become("b", "failed", 3, "exit 1").look();
    expect(service.last?.status?.state).toBe("progressing");
    service.become("b", "failed", 1, "exit 2").look();
    expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 4 }], status: { state: "rolled_back", version: 2, from: 1 } });
    expect(service.last?.status?.reason).toMatch(/^version 2 was rolled back: it never got ready: chat\.local\.\d+ failed: exit \d; version 1 serves$/);
    for (let i = 0; i < 100; i++) expect(service.look(60_000).counts).toEqual({ 1: 4 });
    expect(service.said.filter((line) => line.startsWith("rollback"))).toHaveLength(1);
    expect(service.last?.nextMs).toBe(Number.POSITIVE_INFINITY);
  });

  test("with rollback off it stays, and the version before serves on as many as are wanted", () => {
    const service = new Service().update(v2, v1, { rollback: false }).become("b", "failed", 4, "exit 1").look();
    expect(service.last?.status).toMatchObject({ state: "stuck", version: 2 });
    service.facts = { ...service.facts, desired: 6 };
    expect(service.look().counts).toEqual({ 1: 6, 2: 4 });
  });

  test("what people publish again is tried again", () => {
    const service = new Service().update(v2, v1).become("b", "failed").look().look();
    expect(service.update({ version: 3, digest: "b" }, v1).counts).toEqual({ 3: 4 });
    expect(service.last?.status).toMatchObject({ state: "progressing", version: 3 });
  });

  test("some that failed beside some that are ready are people's to judge", () => {
    const service = new Service().update(v2, v1).become("b", "ready", 3).look();
    service.facts = { ...service.facts, replicas: service.facts.replicas.map((one) => (one.digest === "b" && one.phase === "starting" ? { ...one, phase: "failed", reason: "no GPU" } : one)) };
    service.look();
    expect(service.last?.status).toMatchObject({ state: "stuck", version: 2, reason: "3 of 4 replicas of version 2 are ready; chat.local.8 failed: no GPU; it is not tried again" });
    expect(service.counts).toEqual({ 2: 4 });
  });

  test("nothing is concluded while a region is not heard", () => {
    const service = new Service().update(v2, v1).become("b", "failed");
    service.facts = { ...service.facts, partial: true };
    expect(service.look().last?.status?.state).toBe("progressing");
    service.facts = { ...service.facts, partial: false };
    expect(service.look().last?.status?.state).toBe("rolled_back");
  });

  test("at zero it waits for the first replica", () => {
    const service = new Service({}, 0).update(v2, v1);
    expect(service.last).toMatchObject({ wanted: [{ ...v2, count: 0 }], status: { state: "progressing", reason: "no replica is wanted now: the next one is of version 2" } });
    service.facts = { ...service.facts, desired: 1 };
    service.look().become("b", "failed").look();
    expect(service.last?.status?.state).toBe("rolled_back");
  });

  test("without a version to go back to it can only stay", () => {
    const service = new Service({ mode: "canary" }).update(v2, undefined).become("b", "failed").look();
    expect(service.last?.status).toMatchObject({ mode: "rolling", state: "stuck", version: 2 });
  });

  test("who remembers nothing goes on from what is there", () => {
    const service = new Service().update(v2, v1).become("b", "ready").look();
    service.state = undefined;
    expect(service.look().last).toMatchObject({ wanted: [{ ...v2, count: 4 }] });
    const other = new Service().update(v2, v1);
    other.state = undefined;
    expect(other.look().last?.status).toMatchObject({ state: "progressing", from: 1 });
  });
});

describe("rollout(), going elsewhere in the middle", () => {
  test.each(["rolling", "blue_green", "canary", "ab"] as const)("%s: the old file again ends it, and drains the new version", (mode) => {
    const service = new Service().update(v2, v1, { mode }).become("b", "ready", 1).look();
    service.update({ version: 3, digest: "a" }, v1);
    expect(service.last).toMatchObject({ wanted: [{ version: 3, digest: "a", count: 4 }], status: { state: "done", version: 3, from: 2 } });
    expect(service.last?.shares).toBeUndefined();
    expect(service.look(10).last?.status?.state).toBe("done");
  });

  test.each(["rolling", "blue_green", "canary", "ab"] as const)("%s: a third version begins anew, from the one that was whole", (mode) => {
    const service = new Service().update(v2, v1, { mode }).become("b", "ready", 1).look().update(v3, v1);
    expect(service.last?.status).toMatchObject({ state: "progressing", version: 3, from: 1 });
    expect(Object.keys(service.counts)).not.toContain("2");
    service.become("c", "failed").look();
    expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 4 }], status: { state: "rolled_back" } });
  });

  test("a version that control saw whole before its scaler did is the one to go back to", () => {
    const whole = (): Service => new Service().update(v2, v1).become("b", "ready");
    const service = whole().update(v3, v2, { mode: "canary" });
    expect(service.last).toMatchObject({ wanted: [{ ...v2, count: 4 }, { ...v3, count: 1 }], status: { state: "progressing", version: 3, from: 2 } });
    expect(service.become("c", "failed").look().last).toMatchObject({ wanted: [{ ...v2, count: 4 }], status: { state: "rolled_back", from: 2 } });
    // the first one's file again is a rollout too, with all its care
    expect(whole().update({ version: 3, digest: "a" }, v2, { mode: "canary" }).last?.status).toMatchObject({ state: "progressing", step: 1, version: 3, from: 2 });
  });

  test("the same version by another mode: a canary that is to take all at once", () => {
    const service = new Service().update(v2, v1, { mode: "canary" }).become("b", "ready").look(1000);
    service.update({ version: 3, digest: "b" }, v1, { mode: "rolling" });
    expect(service.counts).toEqual({ 3: 4 });
    expect(service.last?.shares).toBeUndefined();
    expect(service.become("b", "ready").look().last?.status?.state).toBe("done");
  });

  test("a change of configuration in the middle goes on where it was", () => {
    const service = new Service().update(v2, v1, { mode: "canary" }).become("b", "ready").look(1000).look(120_000);
    expect(service.last?.status?.step).toBe(2);
    expect(service.update({ version: 3, digest: "b" }, v1).last?.status).toMatchObject({ step: 2, version: 3 });
  });
});

describe("rollout(), blue_green", () => {
  const policy = { mode: "blue_green", keepMs: 60_000 } as const;

  test("all requests change over when the whole new set is ready, and the old set stays for a while", () => {
    const service = new Service().update(v2, v1, policy);
    expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 4 }, { ...v2, count: 4 }], shares: { 1: 1 }, status: { state: "progressing", shares: { 1: 1 } } });
    expect(service.become("b", "ready", 3).look().last?.shares).toEqual({ 1: 1 });
    expect(service.become("b", "ready").look().last).toMatchObject({ wanted: [{ ...v2, count: 4 }, { ...v1, count: 4 }], shares: { 2: 1 } });
    expect(service.look(59_999).last).toMatchObject({ shares: { 2: 1 }, nextMs: 1 });
    expect(service.look(1).last).toMatchObject({ wanted: [{ ...v2, count: 4 }], status: { state: "done" } });
    expect(service.last?.shares).toBeUndefined();
  });

  test("on request it changes over when so many are ready, as SkyServe does at min_replicas", () => {
    const service = new Service().update(v2, v1, { ...policy, readyMin: 2 }).become("b", "ready", 1).look();
    expect(service.last?.shares).toEqual({ 1: 1 });
    expect(service.become("b", "ready", 1).look().last?.shares).toEqual({ 2: 1 });
  });

  test("one that never gets ready is taken back, and has had no request", () => {
    const service = new Service().update(v2, v1, policy).become("b", "failed").look();
    expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 4 }], status: { state: "rolled_back" } });
  });

  test("one that fails requests after the change over is taken back while the old set stands", () => {
    const service = new Service().saw(seen(1, 500)).update(v2, v1, policy).become("b", "ready").look().saw(seen(1, 500), seen(2, 20, 20)).look(5_000);
    expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 4 }], shares: { 1: 1 }, status: { state: "rolled_back", reason: "version 2 was rolled back: 20 of 40 attempts on it failed (50 %), and 0 % on version 1; version 1 serves" } });
  });

  test("nor is the old set given up for one that breakers keep requests from", () => {
    const service = new Service().saw(seen(1, 500)).update(v2, v1, policy).become("b", "ready").look().saw(seen(1, 520), seen(2, 0, 4)).look(59_999);
    expect(service.last?.shares).toEqual({ 2: 1 });
    expect(service.look(1).last?.status?.state).toBe("rolled_back");
  });

  test("one that is slower is measured against what the old set was before", () => {
    const service = new Service().saw(seen(1, 500, 0, 50)).update(v2, v1, policy).become("b", "ready").look().saw(seen(1, 500, 0, 50), seen(2, 40, 0, 5_000)).look(5_000);
    expect(service.last?.status?.reason).toBe("version 2 was rolled back: its first tokens take more than 2500 ms (p95), and 59 ms on version 1; version 1 serves");
  });
});

describe("rollout(), canary", () => {
  const policy = { mode: "canary", steps: [{ share: 0.05, forMs: 60_000 }, { share: 0.5, forMs: 30_000 }], requestsMin: 20 } as const;

  test("steps get their share when their replicas are ready, are held for their time, and then the rest follows", () => {
    const service = new Service().update(v2, v1, policy);
    expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 4 }, { ...v2, count: 1 }], shares: { 1: 1 }, status: { state: "progressing", step: 1, steps: 2 } });
    service.look(600_000);
    expect(service.last?.shares).toEqual({ 1: 1 });
    expect(service.become("b", "ready").look().last).toMatchObject({ shares: { 1: 0.95, 2: 0.05 }, status: { reason: "step 1 of 2: 5 % of requests go to version 2 for 1m 0s" } });
    expect(service.look(59_999).last).toMatchObject({ shares: { 1: 0.95, 2: 0.05 }, nextMs: 1 });
    // the second replica is not ready: requests go as before
    expect(service.look(1).last).toMatchObject({ wanted: [{ ...v1, count: 4 }, { ...v2, count: 2 }], shares: { 1: 0.95, 2: 0.05 }, status: { step: 2 } });
    service.look(600_000).become("b", "ready").look();
    expect(service.last?.shares).toEqual({ 1: 0.5, 2: 0.5 });
    service.look(30_000);
    expect(service.last).toMatchObject({ wanted: [{ ...v2, count: 4 }], status: { state: "progressing", step: 2, reason: "every step is passed: version 2 takes the place of version 1: 2 of 4 replicas ready" } });
    expect(service.last?.shares).toBeUndefined();
    expect(service.become("b", "ready").look().last?.status?.state).toBe("done");
    expect(service.said.map((line) => line.split(":")[0])).toEqual(["rollout", "rollout", "rollout", "rollout", "rollout", "done"]);
  });

  test.each<[string, VersionSeen[], string | undefined]>([
    ["more errors than allowed beyond the old version's", [seen(1, 400), seen(2, 36, 4)], "4 of 40 attempts on it failed (10 %), and 0 % on version 1"],
    ["as many errors as the old version has", [seen(1, 360, 40), seen(2, 36, 4)], undefined],
    ["errors, of too few requests to judge", [seen(1, 400), seen(2, 0, 19)], undefined],
    ["first tokens much later", [seen(1, 400, 0, 90), seen(2, 40, 0, 2_000)], "its first tokens take more than 1000 ms (p95), and 99 ms on version 1"],
    ["first tokens in the next bucket", [seen(1, 400, 0, 90), seen(2, 40, 0, 110)], undefined],
    ["first tokens late, of an old version that was not asked", [seen(2, 40, 0, 2_000)], undefined],
  ])("%s", (_name, rows, why) => {
    const service = new Service().update(v2, v1, policy).become("b", "ready").look().saw(...rows).look(5_000);
    expect(service.last?.status?.state).toBe(why === undefined ? "progressing" : "rolled_back");
    if (why !== undefined) expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 4 }], status: { reason: `version 2 was rolled back: ${why}; version 1 serves` } });
  });

  test("failures that are few in each step count together", () => {
    const service = new Service().update(v2, v1, policy).become("b", "ready").look().saw(seen(1, 400), seen(2, 12, 2)).look(60_000).become("b", "ready").look();
    expect(service.last?.status).toMatchObject({ state: "progressing", step: 2 });
    expect(service.saw(seen(1, 400), seen(2, 15, 5)).look(5_000).last?.status).toMatchObject({ state: "rolled_back" });
  });

  test("one that breakers keep requests from is not given more because it was seen to fail a few only", () => {
    const service = new Service().update(v2, v1, policy).become("b", "ready").look().saw(seen(1, 400), seen(2, 0, 3)).look(59_999);
    expect(service.last?.status?.state).toBe("progressing");
    expect(service.look(1).last?.status?.reason).toBe("version 2 was rolled back: 3 of 3 attempts on it failed (100 %), and 0 % on version 1; version 1 serves");
    const quiet = new Service().update(v2, v1, policy).become("b", "ready").look().saw(seen(1, 400), seen(2, 1, 2)).look(60_000);
    expect(quiet.last?.status).toMatchObject({ state: "progressing", step: 2 });
  });

  test("what was seen before the step does not count against it", () => {
    const service = new Service().saw(seen(1, 100), seen(2, 0, 500)).update(v2, v1, policy).become("b", "ready").look().saw(seen(1, 200), seen(2, 50, 500)).look(5_000);
    expect(service.last?.status?.state).toBe("progressing");
  });

  test("no step is taken while a region is not heard", () => {
    const service = new Service().update(v2, v1, policy).become("b", "ready").look();
    service.facts = { ...service.facts, partial: true };
    expect(service.look(600_000).last?.status?.step).toBe(1);
    service.facts = { ...service.facts, partial: false };
    expect(service.look().last?.status?.step).toBe(2);
  });

  test("a canary that is no longer ready begins its step again", () => {
    const service = new Service().update(v2, v1, policy).become("b", "ready").look().look(50_000).become("b", "unhealthy").look(1_000);
    expect(service.last).toMatchObject({ shares: { 1: 1 } });
    service.become("b", "ready").look(1_000).look(59_999);
    expect(service.last?.status?.step).toBe(1);
  });

  test("one whose replicas fail for good after they were ready is taken back", () => {
    const service = new Service().update(v2, v1, policy).become("b", "ready").look().become("b", "failed", 1, "out of memory").look(1_000);
    expect(service.last?.status?.reason).toMatch(/^version 2 was rolled back: it is no longer ready: chat\.local\.5 failed: out of memory; version 1 serves$/);
  });

  test("while its replicas drain nothing goes to it", () => {
    const service = new Service().update(v2, v1, policy).become("b", "ready").look();
    const draining = service.facts.replicas;
    service.saw(seen(2, 0, 40)).look(1_000);
    service.facts = { ...service.facts, replicas: draining };
    expect(service.look().last?.shares).toEqual({ 1: 1 });
    service.facts = { ...service.facts, replicas: draining.filter(({ digest }) => digest === "a") };
    expect(service.look().last?.shares).toBeUndefined();
  });

  test("where there is no room for both, the old version gives up what its share does not need", () => {
    const service = new Service().update(v2, v1, policy).become("b", "ready").look().look(60_000);
    const full = (): void => void (service.facts = { ...service.facts, replicas: service.facts.replicas.filter(({ digest, phase }) => digest === "a" || phase === "ready") });
    full();
    expect(service.look(59_999).counts).toEqual({ 1: 4, 2: 2 });
    full();
    expect(service.look(1).counts).toEqual({ 1: 3, 2: 2 });
    service.become("b", "ready").look();
    expect(service.look(1_000).counts).toEqual({ 1: 3, 2: 2 });
    expect(service.last?.shares).toEqual({ 1: 0.5, 2: 0.5 });
  });
});

describe("rollout(), ab", () => {
  test("the new version has its share until the next change", () => {
    const service = new Service().update(v2, v1, { mode: "ab", share: 0.25 });
    expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 4 }, { ...v2, count: 1 }], shares: { 1: 1 }, status: { state: "progressing" } });
    service.become("b", "ready").look();
    expect(service.last).toMatchObject({ wanted: [{ ...v1, count: 3 }, { ...v2, count: 1 }], shares: { 1: 0.75, 2: 0.25 }, status: { state: "done", shares: { 1: 0.75, 2: 0.25 } } });
    service.saw(seen(2, 0, 500));
    expect(service.look(86_400_000).last?.shares).toEqual({ 1: 0.75, 2: 0.25 });
    service.facts = { ...service.facts, desired: 8 };
    expect(service.look().counts).toEqual({ 1: 6, 2: 2 });
    expect(service.update({ version: 3, digest: "b" }, v1, { mode: "rolling" }).counts).toEqual({ 3: 8 });
  });
});
