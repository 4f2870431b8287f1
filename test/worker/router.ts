import type { Bundle, RouteService } from "../../schema/bundle.ts";
import { frameKinds, jsonFrame, noPayload, windowBytes, windowFrame, type Frame } from "../../schema/frames.ts";
import { encrypt, sharedKey } from "../../schema/seal.ts";
import { forgetDecisions } from "../../edge/decisions.ts";
import { forgetUpstreams } from "../../edge/forward/memory.ts";
import { forgetView } from "../../edge/view.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, self, soon, testKey, TestLink, TestRelayLink, world, type TestHost } from "./world.ts";

type KeyRecord = Bundle["route"]["keys"][number];

const fleet = [fleetService("chat", 1), fleetService("web", 1)];

/** What the router knows: replicas that the test answers for, vendors that it stands in for, and services that refuse. */
async function servicesOf(): Promise<RouteService[]> {
  const sealedApiKey = await encrypt(await sharedKey(world.FAIRLEAD_SHARED_KEY), "provider:rented:vendor", "sk-vendor");
  const one = { name: "one", endpoint: "http://one.test/v1", dialect: "openai" as const };
  const two = { name: "two", endpoint: "http://two.test/v1", dialect: "openai" as const };
  const timeouts = { ttftMs: 700, idleMs: 700, totalMs: 2_000 };
  return [
    routeService("chat"),
    routeService("web", { listed: false }),
    routeService("rented", { selfHosted: false, providers: [{ name: "vendor", endpoint: "http://vendor.test/v1", dialect: "openai", sealedApiKey, model: "vendor-model" }] }),
    routeService("pair", { selfHosted: false, timeouts, providers: [one, { ...two, fallback: true }] }),
    routeService("strict", { selfHosted: false, timeouts, routing: { onStreamLoss: "error" }, providers: [one, { ...two, fallback: true }] }),
    routeService("windows", { selfHosted: false, routing: { contextWindowFallback: true }, providers: [{ ...one, contextWindow: 8_192 }, { ...two, fallback: true, contextWindow: 131_072, model: "larger" }] }),
    routeService("hedged", { selfHosted: false, routing: { hedgeAfterMs: 50 }, providers: [one, two] }),
    routeService("empty"),
    routeService("small", { bodyBytesMax: 100 }),
  ];
}

export const chat = { model: "chat", messages: [{ role: "user", content: "hi" }] };

/** The router as its clients see it, and one host of ready replicas behind it, whose agent the test is. */
export class TestRouter {
  readonly relay: TestRelayLink;
  readonly services: RouteService[];
  /** A client's key, with the right to inference. */
  readonly key: string;
  readonly #record: KeyRecord;
  readonly #host: TestHost;
  readonly #beat: () => void;
  static #version = Date.now();

  private constructor(relay: TestRelayLink, services: RouteService[], key: string, record: KeyRecord, host: TestHost, beat: () => void) {
    this.relay = relay;
    this.services = services;
    this.key = key;
    this.#record = record;
    this.#host = host;
    this.#beat = beat;
  }

  static async start(): Promise<TestRouter> {
    const { key, record } = await testKey();
    const host = await newHost("host_router");
    const services = await servicesOf();
    await publish(bundle(++TestRouter.#version, { services, hosts: [host], fleet, keys: [record] }));
    const control = await TestLink.join(host);
    const ticket = control.welcome?.relays[0];
    if (ticket === undefined) throw new Error("no ticket");
    const relay = await TestRelayLink.open(host.id, ticket);
    const { replicas, generation } = await control.assigned(2);
    const beat = (): void => control.beat(replicas.map((one) => replicaState(one)), { generation });
    beat();
    await soon("ready replicas", 20_000, async () => ((await world.HUB.getByName("local").snapshot()).replicas.filter(({ phase }) => phase === "ready").length === 2 ? true : undefined));
    return new TestRouter(relay, services, key, record, host, beat);
  }

  stop(): void {
    this.relay.socket.close(1000, "done");
  }

  /** A cold isolate; its host is there, however long the tests before took. */
  cold(): void {
    this.#beat();
    forgetView();
    forgetUpstreams();
    forgetDecisions();
  }

  /** The same configuration once more, with these keys besides its own, or with other services. */
  async publish(more: KeyRecord[] = [], services = this.services): Promise<void> {
    await publish(bundle(++TestRouter.#version, { services, hosts: [this.#host], fleet, keys: [this.#record, ...more] }));
  }

  /** @param init.key another key than this world's; null: none */
  ask(path: string, { key = this.key, ...init }: RequestInit & { key?: string | null } = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (key !== null && !headers.has("authorization")) headers.set("authorization", `Bearer ${key}`);
    return self.fetch(`http://router${path}`, { ...init, headers });
  }

  post(body: unknown, path = "/v1/chat/completions"): Promise<Response> {
    return this.ask(path, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), headers: { "content-type": "application/json" } });
  }

  /** The agent's side of the next exchange. */
  async answerWith(head: { status: number; headers?: [string, string][] }, body: string): Promise<Frame> {
    const open = await this.relay.next(frameKinds.open);
    this.relay.send(
      windowFrame(open.stream, windowBytes),
      jsonFrame(frameKinds.open, open.stream, { status: head.status, headers: head.headers ?? [["content-type", "application/json"]] }),
      { kind: frameKinds.data, stream: open.stream, sequence: 0, payload: new TextEncoder().encode(body) },
      { kind: frameKinds.end, stream: open.stream, sequence: 0, payload: noPayload },
    );
    return open;
  }
}

/** An error in OpenAI's envelope. */
export async function errorOf(response: Response): Promise<{ status: number; error: { message: string; type: string; param: string | null; code: string | null } }> {
  return { status: response.status, ...((await response.json()) as { error: { message: string; type: string; param: string | null; code: string | null } }) };
}
