import { evictDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { exposition, type Sample } from "../../test/exposition.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, self, soon, testKey, TestLink, world } from "../../test/worker/world.ts";
import { forgetDecisions } from "../decisions.ts";
import { forgetUpstreams } from "../forward/memory.ts";
import { forgetView } from "../view.ts";
import { forgetTelemetry } from "./telemetry.ts";

let version = Date.now();
const forget = (): void => {
  forgetDecisions();
  forgetTelemetry();
  forgetUpstreams();
  forgetView();
};
beforeEach(forget);
afterEach(() => {
  vi.restoreAllMocks();
  forget();
});

const metrics = async (): Promise<Sample[]> => exposition(await (await self.fetch("http://router/metrics")).text());
const count = (all: readonly Sample[], name: string, labels: Record<string, string>): number =>
  all.filter((sample) => sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value)).reduce((sum, { value }) => sum + value, 0);

const events = (texts: readonly string[]): string => `${texts.map((content) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`).join("")}data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 2 } })}\n\ndata: [DONE]\n\n`;

/** Between two events: far more than a busy machine is late for the first of them, by which the gap to the next is shorter. */
const dripMs = 150;

/** An event stream that comes event by event. */
function dripped(text: string): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const write = async (): Promise<void> => {
    for (const event of text.split(/(?<=\n\n)/)) {
      await writer.write(new TextEncoder().encode(event));
      await scheduler.wait(dripMs);
    }
    await writer.close();
  };
  write().catch(() => undefined);
  return new Response(readable, { headers: { "content-type": "text/event-stream" } });
}

/** A service with two providers, and the answers that they give in turn. */
async function providers(name: string, answers: (() => Response)[]): Promise<(body?: Record<string, unknown>) => Promise<Response>> {
  const { key, record } = await testKey();
  const route = routeService(name, { selfHosted: false, providers: ["one", "two"].map((provider) => ({ name: provider, endpoint: `https://${provider}.example/v1`, dialect: "openai" as const })), routing: { strategy: "availability_first", fallbackChain: ["one", "two"] } });
  await publish(bundle(++version, { services: [route], keys: [record] }));
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => answers.shift()?.() ?? new Response(null, { status: 500 }));
  return (body = {}) => self.fetch("http://router/v1/chat/completions", { method: "POST", headers: { authorization: `Bearer ${key}` }, body: JSON.stringify({ model: name, messages: [{ role: "user", content: "canary" }], ...body }) });
}

test("what an isolate saw of providers is in the metrics within two seconds, and no word of a request", async () => {
  const answer = { choices: [{ message: { content: "Hi" }, finish_reason: "stop" }], usage: { prompt_tokens: 5, completion_tokens: 3 } };
  const ask = await providers("mixed", [() => Response.json(answer), () => new Response("busy", { status: 503 }), () => Response.json(answer), () => dripped(events(["a", "b"]))]);
  expect((await ask()).status).toBe(200);
  const second = await ask();
  expect([second.status, second.headers.get("x-fairlead-upstream")]).toEqual([200, "two"]);
  expect(await (await ask({ stream: true })).text()).toContain("[DONE]");
  expect((await self.fetch("http://router/v1/chat/completions", { method: "POST", headers: { authorization: "Bearer canary" }, body: "{}" })).status).toBe(401);

  const service = { service: "mixed" };
  const all = await soon("all counts", 20_000, async () => {
    const now = await metrics();
    return count(now, "fairlead_request_count_total", { ...service, status: "2xx" }) === 3 ? now : undefined;
  });
  expect(count(all, "fairlead_upstream_attempts_total", { ...service, upstream: "one", status: "answer" }) + count(all, "fairlead_upstream_attempts_total", { ...service, upstream: "two", status: "answer" })).toBe(3);
  expect(count(all, "fairlead_upstream_attempts_total", { ...service, upstream: "one", status: "unable" })).toBe(1);
  expect(count(all, "fairlead_fallbacks_total", { ...service, upstream: "two" })).toBe(1);
  expect([count(all, "fairlead_tokens_total", { ...service, status: "input" }), count(all, "fairlead_tokens_total", { ...service, status: "output" })]).toEqual([17, 8]);
  expect([count(all, "fairlead_arrivals_total", service), count(all, "fairlead_ttft_seconds_count", service), count(all, "fairlead_request_latency_seconds_count", service)]).toEqual([3, 1, 3]);
  // the first stream of an isolate is timed: five events have four gaps, none of them short
  expect(count(all, "fairlead_itl_seconds_count", service)).toBe(4);
  expect(count(all, "fairlead_itl_seconds_bucket", { ...service, le: "0.01" })).toBe(0);
  const text = JSON.stringify(all);
  expect([text.includes("canary"), text.includes('"4xx"')]).toEqual([false, true]);

  const told = await self.fetch("http://router/internal/told/mixed?kind=requests", { headers: { authorization: `Bearer ${world.FAIRLEAD_CONTROL_TOKEN}` } });
  const { lines, next } = (await told.json()) as { lines: { text: string }[]; next: string };
  expect(lines.map(({ text: line }) => line.replace(/^\S+ req_\w+ |ms=\d+ /g, ""))).toEqual(["status=200 upstream=one region=local", "status=200 upstream=two attempts=one:unable,two:answer region=local", expect.stringMatching(/^status=200 upstream=(one|two) .*region=local$/)]);
  expect(await (await self.fetch(`http://router/internal/told/mixed?kind=requests&after=${next}`, { headers: { authorization: `Bearer ${world.FAIRLEAD_CONTROL_TOKEN}` } })).json()).toMatchObject({ lines: [], next });
});

test("a stream that breaks off counts as broken", async () => {
  const cut = (): Response => new Response(events(["a"]).split("data: {\"choices\":[{\"index\":0,\"delta\":{},")[0] ?? "", { headers: { "content-type": "text/event-stream" } });
  const ask = await providers("cut", [cut]);
  expect(await (await ask({ stream: true })).text()).toContain('"error"');
  await soon("the broken stream", 20_000, async () => (count(await metrics(), "fairlead_request_count_total", { service: "cut", status: "broken" }) === 1 ? true : undefined));
});

test("a Hub that was put away counts anew, and is told on", async () => {
  const hub = world.HUB.getByName("local");
  const told = (): Parameters<typeof hub.record>[1] => ({ isolate: "i", cells: [{ service: "evicted", upstream: "", counts: new Uint32Array([2]) }], inFlight: [], breakers: [] });
  await hub.record([], told());
  await hub.record([], told());
  expect(count(await metrics(), "fairlead_request_count_total", { service: "evicted" })).toBe(4);
  await evictDurableObject(hub);
  expect(count(await metrics(), "fairlead_request_count_total", { service: "evicted" })).toBe(0);
  await hub.record([], told());
  expect(count(await metrics(), "fairlead_request_count_total", { service: "evicted" })).toBe(2);
  // what a router of another mind tells is refused, and spoils nothing
  await expect((async () => hub.record([], { isolate: "i", cells: [{ service: "evicted" }] } as never))()).rejects.toThrow();
  expect(count(await metrics(), "fairlead_request_count_total", { service: "evicted" })).toBe(2);
});

test("a heartbeat's readings reach status with the host's version; one that cannot be read costs nothing", async () => {
  const host = await newHost("host_readings");
  await publish(bundle(++version, { hosts: [host], fleet: [fleetService("read", 1)] }));
  const link = await TestLink.join(host);
  const [replica] = (await link.assigned(1)).replicas;
  const state = replicaState(replica as never, { requests: 5 });
  const beat = (readings: unknown): void => link.say(JSON.stringify({ type: "heartbeat", epoch: link.welcome?.epoch, generation: 1, relays: [0], draining: false, replicas: [state], readings }));
  const seen = async () => (await world.HUB.getByName("local").status()).hosts.find(({ id }) => id === host.id);
  beat({ ageMs: 1_000, gpus: [{ index: 0, utilisation: 0.5, powerW: 1e9, more: "unknown" }], host: { cpus: 4 }, later: true });
  const told = await soon("readings", 20_000, async () => { const one = await seen(); return one?.readings === undefined ? undefined : one; });
  expect(told).toMatchObject({ agentVersion: "test", protocol: 1, readings: { gpus: [{ index: 0, utilisation: 0.5 }], host: { cpus: 4 } } });
  expect(told.readings?.gpus[0]).not.toHaveProperty("powerW", 1e9);
  expect(told.readings?.ageMs).toBeGreaterThanOrEqual(1_000);
  const { heardAt } = told;
  beat("nonsense");
  expect(await soon("the next heartbeat", 20_000, async () => { const one = await seen(); return (one?.heardAt ?? 0) > heardAt ? one : undefined; })).toEqual(expect.objectContaining({ linkUp: true }));
  expect(await seen()).not.toHaveProperty("readings");
  beat({ ageMs: 20_000, gpus: [] });
  expect((await soon("readings again", 20_000, async () => (await seen())?.readings))?.ageMs).toBeGreaterThanOrEqual(20_000);
  beat({ ageMs: 60_000, gpus: [] });
  await soon("old readings going", 20_000, async () => ((await seen())?.readings === undefined ? true : undefined));
  const journal = await self.fetch("http://router/internal/told/read?kind=journal", { headers: { authorization: `Bearer ${world.FAIRLEAD_CONTROL_TOKEN}` } });
  expect(((await journal.json()) as { lines: { text: string }[] }).lines.map(({ text }) => text)).toContainEqual(expect.stringMatching(/Z hub place: read\.local\.\d+ of version 1 is placed on host_readings region=local$/));
  link.socket.close();
});
