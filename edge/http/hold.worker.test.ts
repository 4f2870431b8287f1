import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { RouteService } from "../../schema/bundle.ts";
import { frameKinds, jsonFrame, noPayload, windowBytes, windowFrame, type Frame } from "../../schema/frames.ts";
import { errorOf } from "../../test/worker/router.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, self, soon, testKey, TestLink, TestRelayLink } from "../../test/worker/world.ts";
import { forgetDecisions } from "../decisions.ts";
import { forgetUpstreams, remembered } from "../forward/memory.ts";
import { waitingMax } from "../forward/room.ts";
import { forgetTelemetry } from "../telemetry/telemetry.ts";
import { forgetView } from "../view.ts";

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

let version = Date.now();
const vendor = { name: "vendor", endpoint: "https://vendor.example/v1", dialect: "openai" as const };
const answer = { choices: [{ message: { content: "Hi" }, finish_reason: "stop" }] };
const events = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "Hi" } }] })}\n\ndata: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`;

/** A service whose one replica is starting, on a host that is there. */
class Cold {
  readonly service: RouteService;
  readonly relay: TestRelayLink;
  readonly #key: string;
  readonly #beat: (phase: "starting" | "ready") => void;
  private constructor(service: RouteService, relay: TestRelayLink, key: string, beat: (phase: "starting" | "ready") => void) {
    this.service = service;
    this.relay = relay;
    this.#key = key;
    this.#beat = beat;
  }

  static async start(name: string, more: Parameters<typeof routeService>[1]): Promise<Cold> {
    const { key, record } = await testKey();
    const host = await newHost(`host_${name}`);
    const service = routeService(name, more);
    await publish(bundle(++version, { services: [service], hosts: [host], fleet: [fleetService(name, 1)], keys: [record] }));
    const control = await TestLink.join(host);
    const relay = await TestRelayLink.open(host.id, control.welcome?.relays[0] ?? expect.fail());
    const { replicas, generation } = await control.assigned(1);
    const beat = (phase: "starting" | "ready"): void => control.beat(replicas.map((one) => replicaState(one, { phase })), { generation });
    beat("starting");
    return new Cold(service, relay, key, beat);
  }

  ready(): void {
    this.#beat("ready");
  }

  /** Its replica answers all that it is given. */
  answers(text: string, type = "application/json"): void {
    this.relay.onFrame = (frame) => {
      if (frame.kind === frameKinds.open) this.answer(frame, text, type);
    };
  }

  answer({ stream }: Frame, text: string, type = "application/json"): void {
    this.relay.send(
      windowFrame(stream, windowBytes),
      jsonFrame(frameKinds.open, stream, { status: 200, headers: [["content-type", type]] }),
      { kind: frameKinds.data, stream, sequence: 0, payload: new TextEncoder().encode(text) },
      { kind: frameKinds.end, stream, sequence: 0, payload: noPayload },
    );
  }

  ask(more: Record<string, unknown> = {}, init: RequestInit = {}, path = "/v1/chat/completions"): Promise<Response> {
    return self.fetch(`http://router${path}`, { method: "POST", headers: { authorization: `Bearer ${this.#key}` }, body: JSON.stringify({ model: this.service.name, messages: [{ role: "user", content: "hi" }], ...more }), ...init });
  }

  /** How many wait now. */
  get held(): number {
    return remembered(this.service).room.count(Date.now());
  }

  holds(count: number): Promise<true> {
    return soon(`${count} that wait`, 3_000, () => (this.held === count ? true : undefined));
  }
}

describe("a request that finds no replica ready", () => {
  test("waits for it, and is answered by it", async () => {
    const cold = await Cold.start("patient", { fromZero: { holdMs: 10_000, fallback: false } });
    cold.answers(JSON.stringify(answer));
    const asked = cold.ask();
    await cold.holds(1);
    cold.ready();
    const response = await asked;
    expect([response.status, response.headers.get("x-fairlead-upstream"), await response.json(), cold.held]).toEqual([200, "replica", answer, 0]);
  });

  test("gets comments while it waits, when it is a stream, and then the answer", async () => {
    const cold = await Cold.start("streaming", { fromZero: { holdMs: 10_000, fallback: false } });
    cold.answers(events, "text/event-stream");
    const response = await cold.ask({ stream: true });
    expect([response.status, response.headers.get("content-type"), cold.held]).toEqual([200, "text/event-stream", 1]);
    const body = response.body?.pipeThrough(new TextDecoderStream()).getReader() ?? expect.fail();
    expect((await body.read()).value).toBe(": \n\n");
    cold.ready();
    let text = "";
    for (let part = await body.read(); !part.done; part = await body.read()) text += part.value;
    expect(text.replace(/^(: \n\n)*/, "")).toContain('"Hi"');
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  });

  test("is told how long it waited when none came", async () => {
    const cold = await Cold.start("vain", { fromZero: { holdMs: 700, fallback: false } });
    const response = await cold.ask();
    expect(response.headers.get("retry-after")).toBe("2");
    expect(await errorOf(response)).toMatchObject({ status: 503, error: { code: "no_replica", message: 'Cannot serve "vain": no replica was ready within 1 s of waiting' } });
    expect(cold.held).toBe(0);
  });

  test("is told so in its stream, when it has begun", async () => {
    const cold = await Cold.start("vainly", { fromZero: { holdMs: 700, fallback: false } });
    expect(await (await cold.ask({ stream: true })).text()).toMatch(/^(: \n\n)+data: \{"error":.*no replica was ready within 1 s of waiting.*"no_replica"/);
  });

  test("waits no longer than it has time itself", async () => {
    const cold = await Cold.start("hurried", { fromZero: { holdMs: 60_000, fallback: false }, timeouts: { ttftMs: 300, totalMs: 600 } });
    expect((await cold.ask()).status).toBe(503);
  });

  test("whose client leaves waits no more", async () => {
    const cold = await Cold.start("left", { fromZero: { holdMs: 60_000, fallback: false } });
    const response = await cold.ask({ stream: true });
    await cold.holds(1);
    await response.body?.cancel();
    await cold.holds(0);
  });

  test.each([[true, "vendor", false], [false, "vendor", true]])("goes to a provider: at once where that is the fallback (%s), else after waiting", async (fallback, upstream, waited) => {
    const cold = await Cold.start(`covered${fallback}`, { fromZero: { holdMs: 600, fallback }, providers: [vendor] });
    vi.spyOn(globalThis, "fetch").mockImplementation(async () => Response.json(answer));
    const from = Date.now();
    const response = await cold.ask();
    expect([response.status, response.headers.get("x-fairlead-upstream"), Date.now() - from >= 600]).toEqual([200, upstream, waited]);
  });

  test("of a service that is no LLM waits with its body unread", async () => {
    const cold = await Cold.start("page", { fromZero: { holdMs: 10_000, fallback: false } });
    cold.answers("hello", "text/plain");
    const asked = cold.ask({}, { body: "x".repeat(1_000) }, "/s/page/form");
    await cold.holds(1);
    cold.ready();
    const response = await asked;
    expect([response.status, await response.text()]).toEqual([200, "hello"]);
    await soon("its body", 3_000, () => (cold.relay.frames.filter(({ kind }) => kind === frameKinds.data).reduce((sum, { payload }) => sum + payload.byteLength, 0) === 1_000 ? true : undefined));
  });
});

describe("requests that wait together", () => {
  test("go in the order in which they came, as many at a time as the first replica is seen to take; one that comes later is behind them", async () => {
    const cold = await Cold.start("line", { fromZero: { holdMs: 20_000, fallback: false } });
    const asked: Promise<Response>[] = [];
    for (let i = 0; i < 8; i++) {
      asked.push(cold.ask({ user: String(i) }));
      await cold.holds(i + 1);
    }
    cold.ready();
    const first = [await cold.relay.next(frameKinds.open), await cold.relay.next(frameKinds.open)];
    asked.push(cold.ask({ user: "8" }));
    await cold.holds(7);
    cold.answers(JSON.stringify(answer));
    for (const frame of first) cold.answer(frame, JSON.stringify(answer));
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(Array.from({ length: 9 }, () => 200));
    // whoever is released together may be sent in any order
    const bodies = await soon("all bodies", 3_000, () => { const sent = cold.relay.frames.filter(({ kind }) => kind === frameKinds.data); return sent.length === 9 ? sent : undefined; });
    const users = bodies.map(({ payload }) => Number((JSON.parse(new TextDecoder().decode(payload)) as { user: string }).user));
    expect(new Set(users.slice(0, 2))).toEqual(new Set([0, 1]));
    expect(users.at(-1)).toBe(8);
    expect([cold.held, remembered(cold.service).observed.ramps.size]).toEqual([0, 0]);
  });

  test("are as many as fit: what comes then is refused with a time to come back", async () => {
    const cold = await Cold.start("crowd", { fromZero: { holdMs: 60_000, fallback: false } });
    const { room } = remembered(cold.service);
    for (let i = 0; i < waitingMax; i++) room.enter(0, Date.now());
    const response = await cold.ask();
    expect(response.headers.get("retry-after")).toBe("2");
    expect(await errorOf(response)).toMatchObject({ status: 503, error: { code: "no_replica", message: expect.stringContaining("as many requests as fit wait for") } });
  });
});
