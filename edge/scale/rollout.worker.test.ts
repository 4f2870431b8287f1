import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { rolloutPolicySchema, scalePolicySchema, type RolloutPolicy } from "../../schema/policy.ts";
import { frameKinds, jsonFrame, noPayload, readRequestHead, windowBytes, windowFrame } from "../../schema/frames.ts";
import type { Assign } from "../../schema/protocol.ts";
import type { ScaleStatus } from "../../schema/snapshot.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, self, soon, testKey, TestLink, TestRelayLink, world, type TestHost } from "../../test/worker/world.ts";
import { forgetDecisions } from "../decisions.ts";
import { forgetUpstreams } from "../forward/memory.ts";
import { forgetTelemetry } from "../telemetry/telemetry.ts";
import { forgetView } from "../view.ts";

let version = Date.now();
const hub = (): ReturnType<typeof world.HUB.getByName> => world.HUB.getByName("local");

/** A service on one host, whose agent the test is: replicas of each digest answer as it says. */
class World {
  readonly #name: string;
  readonly #host: TestHost;
  readonly #key: Awaited<ReturnType<typeof testKey>>;
  #link: TestLink | undefined;
  #assign: Assign | undefined;
  /** The status that replicas of a digest answer with; undefined: they are not ready. */
  readonly answers = new Map<string, number>();
  /** Of these digests no more than so many get ready. */
  readonly readyMax = new Map<string, number>();
  /** Requests by the digest that got them. */
  readonly asked: string[] = [];

  private constructor(name: string, host: TestHost, key: Awaited<ReturnType<typeof testKey>>) {
    this.#name = name;
    this.#host = host;
    this.#key = key;
  }

  static async start(name: string): Promise<World> {
    const one = new World(name, await newHost(`host_${name}`), await testKey());
    one.answers.set("a", 200);
    await one.publish(1, "a");
    const link = await TestLink.join(one.#host);
    one.#link = link;
    const relay = await TestRelayLink.open(one.#host.id, link.welcome?.relays[0] ?? expect.fail());
    relay.onFrame = (frame) => {
      if (frame.kind !== frameKinds.open) return;
      const { target } = readRequestHead(frame);
      const digest = one.#assign?.replicas.find(({ id }) => id === target)?.digest ?? "";
      one.asked.push(digest);
      const payload = new TextEncoder().encode(JSON.stringify({ choices: [{ message: { content: "hi" }, finish_reason: "stop" }] }));
      relay.send(windowFrame(frame.stream, windowBytes), jsonFrame(frameKinds.open, frame.stream, { status: one.answers.get(digest) ?? 503, headers: [["content-type", "application/json"]] }), { kind: frameKinds.data, stream: frame.stream, sequence: 0, payload }, { kind: frameKinds.end, stream: frame.stream, sequence: 0, payload: noPayload });
    };
    await one.settle(() => one.#count("a") === 2);
    return one;
  }

  async publish(number: number, digest: string, { previous, policy = {} }: { previous?: { version: number; digest: string }; policy?: Partial<RolloutPolicy> } = {}): Promise<void> {
    const name = this.#name;
    const fleet = {
      ...fleetService(name, 2, { version: number, digest: `${name}-${digest}`, drainMs: 0 }),
      policy: scalePolicySchema.parse({ autoscaler: "fixed", min: 2, max: 2 }),
      rollout: rolloutPolicySchema.parse(policy),
      ...(previous === undefined ? {} : { previous: { task: fleetService(name, 2, { version: previous.version, digest: `${name}-${previous.digest}`, drainMs: 0 }).task, sealedSecrets: {} } }),
    };
    expect((await publish(bundle(++version, { hosts: [this.#host], keys: [this.#key.record], services: [routeService(name, { version: number })], fleet: [fleet] }))).status).toBe(200);
  }

  #count(digest: string): number {
    return this.#assign?.replicas.filter((replica) => replica.digest === `${this.#name}-${digest}`).length ?? 0;
  }

  counts(): Record<string, number> {
    return { a: this.#count("a"), b: this.#count("b") };
  }

  /** Be the agent until something is so: what is assigned becomes what the test says of its digest, and the Scaler looks. */
  async settle(isSo: () => boolean | Promise<boolean>): Promise<void> {
    const link = this.#link ?? expect.fail();
    await soon("what is waited for", 10_000, async () => {
      const latest = link.inbox.filter((message): message is Assign => message.type === "assign").at(-1);
      if (latest !== undefined) {
        link.inbox.length = 0;
        this.#assign = { ...latest, replicas: latest.replicas };
        for (const { digest } of latest.replicas) {
          const status = this.answers.get(digest.slice(this.#name.length + 1));
          if (status !== undefined) this.answers.set(digest, status);
        }
      }
      if (this.#assign !== undefined) link.beat(this.#assign.replicas.map((replica, i, all) => replicaState(replica, this.answers.has(replica.digest) && all.slice(0, i).filter(({ digest }) => digest === replica.digest).length < (this.readyMax.get(replica.digest) ?? Infinity) ? {} : { phase: "starting", wasReady: false })), { generation: this.#assign.generation });
      await world.SCALER.getByName(this.#name).wake();
      return (await isSo()) ? true : undefined;
    });
  }

  async status(): Promise<ScaleStatus> {
    return (await hub().status()).scales?.find(({ service }) => service === this.#name) ?? expect.fail("no scaler has spoken");
  }

  ask(): Promise<Response> {
    return self.fetch("http://router/v1/chat/completions", { method: "POST", headers: { authorization: `Bearer ${this.#key.key}` }, body: JSON.stringify({ model: this.#name, messages: [{ role: "user", content: "hi" }] }) });
  }
}

function forget(): void {
  forgetDecisions();
  forgetTelemetry();
  forgetUpstreams();
  forgetView();
}
beforeAll(forget);
beforeEach(forget);
afterAll(async () => {
  forget();
  await publish(bundle(++version, {}));
});

describe("a rollout, through Scaler, Hub, view and router", () => {
  test("a canary that fails requests is taken back by itself, and costs nobody an answer", async () => {
    const one = await World.start("bad");
    one.answers.set("b", 500);
    await one.publish(2, "b", { previous: { version: 1, digest: "a" }, policy: { mode: "canary", steps: [{ share: 0.5, forMs: 600_000 }], requestsMin: 3 } });
    await one.settle(async () => (await one.status()).rollout?.shares?.["2"] === 0.5);
    expect(one.counts()).toEqual({ a: 2, b: 1 });
    forgetView();
    for (let i = 0; i < 24; i++) expect((await one.ask()).status).toBe(200);
    const toldOf = async (): Promise<number[]> => (await hub().scaleFacts("bad")).versions.flatMap(({ version: of, answers, failures }) => [of, answers, failures]);
    const told = await soon("the counts", 20_000, async () => { const all = await toldOf(); return all.length === 6 ? all : undefined; });
    const [v1, ok1, bad1, v2, ok2, bad2 = 0] = told[0] === 1 ? told : [...told.slice(3), ...told.slice(0, 3)];
    // each failure counts, though another replica answered
    expect([v1, ok1, bad1, v2, ok2]).toEqual([1, 24, 0, 2, 0]);
    expect(bad2).toBe(one.asked.filter((digest) => digest === "bad-b").length);
    await one.settle(async () => (await one.status()).rollout?.state === "rolled_back");
    const { rollout, decisions, version: configured } = await one.status();
    expect(rollout?.reason).toMatch(/^version 2 was rolled back: \d+ of \d+ attempts on it failed \(100 %\), and 0 % on version 1; version 1 serves$/);
    expect([configured, decisions.at(-1)?.action]).toEqual([2, "rollback"]);
    await one.settle(() => one.counts()["b"] === 0);
    expect(one.counts()).toEqual({ a: 2, b: 0 });
  }, 120_000);

  test("a rolling update that fails requests while both versions serve is taken back by itself, and costs nobody an answer", async () => {
    const one = await World.start("rolls");
    one.answers.set("b", 500);
    one.readyMax.set("rolls-b", 1);
    await one.publish(2, "b", { previous: { version: 1, digest: "a" }, policy: { requestsMin: 3 } });
    // the second one is on its way, and one of the old ones serves on beside the first
    await one.settle(async () => one.counts()["a"] === 1 && (await one.status()).rollout?.reason.includes("1 of 2 replicas ready") === true);
    forgetView();
    for (let i = 0; i < 24; i++) expect((await one.ask()).status).toBe(200);
    await one.settle(async () => (await one.status()).rollout?.state === "rolled_back");
    expect((await one.status()).rollout?.reason).toMatch(/^version 2 was rolled back: \d+ of \d+ attempts on it failed \(100 %\), and 0 % on version 1; version 1 serves$/);
    await one.settle(() => one.counts()["b"] === 0);
    expect(one.counts()).toEqual({ a: 2, b: 0 });
  }, 120_000);

  test("blue_green: no request goes to the new set before it is whole, and none to the old one after", async () => {
    const one = await World.start("swap");
    await one.publish(2, "b", { previous: { version: 1, digest: "a" }, policy: { mode: "blue_green", keepMs: 600_000 } });
    await one.settle(() => one.counts()["b"] === 2);
    forgetView();
    for (let i = 0; i < 5; i++) expect((await one.ask()).status).toBe(200);
    expect(new Set(one.asked)).toEqual(new Set(["swap-a"]));
    one.answers.set("swap-b", 200);
    await one.settle(async () => (await one.status()).rollout?.shares?.["2"] === 1);
    one.asked.length = 0;
    forgetView();
    for (let i = 0; i < 5; i++) expect((await one.ask()).status).toBe(200);
    expect(new Set(one.asked)).toEqual(new Set(["swap-b"]));
    expect(one.counts()).toEqual({ a: 2, b: 2 });
  }, 120_000);
});
