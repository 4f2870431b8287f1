import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { attachTarget, frameKinds, jsonFrame, noPayload, readRequestHead, windowBytes, windowFrame, type ResetReason } from "../schema/frames.ts";
import { quarantinedMax, quarantineMs, type Quarantine } from "../schema/quarantine.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, self, soon, testKey, TestLink, TestRelayLink, world } from "../test/worker/world.ts";
import { forgetDecisions } from "./decisions.ts";
import { forgetUpstreams } from "./forward/memory.ts";
import { fingerprint, scopeOf } from "./forward/poison.ts";
import type { Hub } from "./hub/hub.ts";
import { forgetPoison } from "./quarantine.ts";
import { forgetView } from "./view.ts";

const service = routeService("chat", { providers: [{ name: "vendor", endpoint: "http://vendor.test/v1", dialect: "openai", fallback: true }], timeouts: { ttftMs: 5_000, totalMs: 20_000 } });
let key = "";
let relay: TestRelayLink;
let version = Date.now();

const hub = (region = "local"): ReturnType<typeof world.HUB.getByName> => world.HUB.getByName(region);

beforeAll(async () => {
  const made = await testKey();
  key = made.key;
  const host = await newHost("host_poison");
  await publish(bundle(++version, { services: [service], hosts: [host], fleet: [fleetService("chat", 3)], keys: [made.record] }));
  const control = await TestLink.join(host);
  const ticket = control.welcome?.relays[0];
  if (ticket === undefined) throw new Error("no ticket");
  relay = await TestRelayLink.open(host.id, ticket);
  const assigned = await control.assigned(3);
  control.beat(assigned.replicas.map((one) => replicaState(one)), { generation: assigned.generation });
  await soon("ready replicas", 20_000, async () => ((await hub().snapshot()).replicas.filter(({ phase }) => phase === "ready").length === 3 ? true : undefined));
});
afterAll(() => relay.socket.close(1000, "done"));

/** A cold isolate. */
function cold(): void {
  forgetView();
  forgetUpstreams();
  forgetDecisions();
  forgetPoison();
}

let body = "";
let asked: string[] = [];
let n = 0;
beforeEach(() => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  cold();
  body = JSON.stringify({ model: "chat", messages: [{ role: "user", content: `deadly ${++n}` }] });
  asked = [];
  relay.onFrame = undefined;
});

function post(text = body): Promise<Response> {
  return self.fetch("http://router/v1/chat/completions", { method: "POST", body: text, headers: { authorization: `Bearer ${key}`, "content-type": "application/json" } });
}

type Act = ResetReason["code"] | "answer" | "begin";

/** What the replicas do with the requests that come, in turn; the last one again and again. */
function act(...acts: Act[]): void {
  relay.onFrame = ({ kind, stream, payload }) => {
    if (kind !== frameKinds.open) return;
    const { target } = readRequestHead({ kind, stream, payload, sequence: 0 });
    // what a replica has died of is not kept
    if (target === attachTarget) return relay.send(windowFrame(stream, windowBytes), jsonFrame(frameKinds.reset, stream, { code: "gone", message: "nothing is kept" }));
    asked.push(target);
    const next = acts[Math.min(asked.length, acts.length) - 1] ?? "answer";
    const answer = (type: string, text: string): void =>
      relay.send(windowFrame(stream, windowBytes), jsonFrame(frameKinds.open, stream, { status: 200, headers: [["content-type", type]] }), { kind: frameKinds.data, stream, sequence: 0, payload: new TextEncoder().encode(text) });
    if (next === "answer") {
      answer("application/json", '{"ok": true}');
      relay.send({ kind: frameKinds.end, stream, sequence: 0, payload: noPayload });
    } else if (next === "begin") {
      answer("text/event-stream", 'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n');
      relay.send(jsonFrame(frameKinds.reset, stream, { code: "upstream_lost", message: "died" }));
    } else relay.send(windowFrame(stream, windowBytes), jsonFrame(frameKinds.reset, stream, { code: next, message: "died" }));
  };
}

async function codeOf(response: Response): Promise<[number, string | undefined]> {
  return [response.status, ((await response.json()) as { error?: { code: string } }).error?.code];
}

const mark = (text = body): string => fingerprint(scopeOf("default", service), text);
const told = async (region = "local"): Promise<Quarantine | undefined> => (await hub(region).snapshot()).quarantined?.find((one) => one.fingerprint === mark());

describe("router: requests that replicas die of", () => {
  test("row 33: one that two replicas died of is answered 422, and every isolate refuses it after its next look at the Hub", async () => {
    act("upstream_lost");
    const response = await post();
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await codeOf(response)).toEqual([422, "poison_request"]);
    expect(new Set(asked).size).toBe(2);
    expect(await codeOf(await post())).toEqual([422, "poison_request"]);
    expect(await soon("the Hub's knowledge", 20_000, () => told())).toMatchObject({ account: "default", until: expect.any(Number) });
    cold();
    const refused = await post();
    expect(refused.headers.get("x-fairlead-attempts")).toBe("0");
    expect(await codeOf(refused)).toEqual([422, "poison_request"]);
    expect(asked).toHaveLength(2);
    act("answer");
    expect((await post(body.replace("deadly", "harmless"))).status).toBe(200);
  });

  test.each<[string, Act[]]>([
    ["replicas that are being stopped", ["cancelled", "cancelled", "answer"]],
    ["replicas that cannot be reached", ["connect_failed", "draining", "answer"]],
    ["one loss, and an answer", ["upstream_lost", "answer"]],
  ])("%s say nothing against a request", async (_, acts) => {
    act(...acts);
    expect((await post()).status).toBe(200);
    act("upstream_lost", "answer");
    forgetUpstreams();
    expect((await post()).status).toBe(200);
    expect(await told()).toBeUndefined();
  });

  test("in the middle of a stream its agent's word counts, and the client is told in one typed event", async () => {
    act("begin");
    body = JSON.stringify({ ...(JSON.parse(body) as object), stream: true });
    const texts: string[] = [];
    // one that is not gone on with elsewhere is asked for again by its client; a replica that has just died counts once
    while (texts.length < 50 && texts.at(-1)?.includes("poison_request") !== true) {
      texts.push(await (await post()).text());
      forgetUpstreams();
    }
    const before = asked.length;
    expect(texts.at(-1)).toMatch(/"content":"one"[\s\S]*data: \{"error":\{[^\n]*"code":"poison_request"\}\}\n\n$/);
    expect(texts.at(-1)).not.toContain("[DONE]");
    expect(new Set(asked).size).toBe(2);
    expect(await codeOf(await post())).toEqual([422, "poison_request"]);
    expect(asked).toHaveLength(before);
  });
});

describe("Hub: quarantines", () => {
  const one = (fingerprint: string, until = Date.now() + 60_000): Quarantine => ({ account: "default", fingerprint, until });

  test("live through its eviction, end in time, and reach isolates near other Hubs", async () => {
    await hub("weur").quarantine([one(mark()), one("0000000000000001", Date.now() + 10 * quarantineMs), one("0000000000000002", Date.now() - 1)]);
    await evictDurableObject(hub("weur"));
    const { quarantined = [] } = await hub("weur").snapshot();
    expect(quarantined.map(({ fingerprint }) => fingerprint)).toEqual([mark(), "0000000000000001"]);
    expect(Math.max(...quarantined.map(({ until }) => until))).toBeLessThanOrEqual(Date.now() + quarantineMs);
    await soon("the other Hub's knowledge", 20_000, async () => ((await hub().view(0)).snapshots.some(({ quarantined: all }) => all?.some(({ fingerprint }) => fingerprint === mark())) ? true : undefined));
    cold();
    act("answer");
    expect(await codeOf(await post())).toEqual([422, "poison_request"]);
    expect(asked).toEqual([]);
  });

  test.each<[string, unknown]>([
    ["something that is no list", { account: "a" }],
    ["a fingerprint that is none", [{ account: "a", fingerprint: "the prompt itself", until: 1 }]],
    ["more than one isolate has", Array.from({ length: quarantinedMax.account + 1 }, () => one("00000000000000ff"))],
  ])("%s is refused, and nothing of it is kept", async (_, sent) => {
    await runInDurableObject(hub(), (object: Hub) => expect(() => object.quarantine(sent as Quarantine[])).toThrow());
    expect(JSON.stringify((await hub().snapshot()).quarantined ?? [])).not.toMatch(/the prompt|00000000000000ff|"a"/);
  });
});
