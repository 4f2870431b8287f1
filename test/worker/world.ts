import { env, exports } from "cloudflare:workers";
import { routeServiceSchema, type Bundle, type RouteService } from "../../schema/bundle.ts";
import type { z } from "zod";
import { decodeFrames, encodeFrames, type Frame } from "../../schema/frames.ts";
import { keyDigest, newKey, pepperKey } from "../../schema/key.ts";
import { helloText, type AgentMessage, type Assign, type Challenge, type HubMessage, type ReclaimNotice, type ReplicaState, type Welcome } from "../../schema/protocol.ts";
import type { Region } from "../../schema/region.ts";
import { toBase64 } from "../../schema/seal.ts";
import type { FleetEnv, RouterEnv } from "../../edge/env.ts";

export const world = env as unknown as FleetEnv & RouterEnv;
/** The Worker under test, over HTTP. */
export const self = (exports as unknown as { default: { fetch: typeof fetch } }).default;

/** A promise's value, or an error that says what was waited for. */
export async function soon<T>(what: string, ms: number, ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + ms; Date.now() < end; await scheduler.wait(10)) {
    const value = await ask();
    if (value !== undefined) return value;
  }
  throw new Error(`${what} did not happen within ${ms} ms`);
}

export interface TestHost {
  id: string;
  region: Region;
  publicKey: string;
  sign(text: string): Promise<string>;
}

/** A host with a key of its own, as `fairlead-agent join` makes one. */
export async function newHost(id: string, region: Region = "local"): Promise<TestHost> {
  const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  const raw = new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer);
  return { id, region, publicKey: toBase64(raw), sign: async (text) => toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, new TextEncoder().encode(text)))) };
}

export async function testKey(): Promise<{ key: string; record: Bundle["route"]["keys"][number] }> {
  const { id, key } = newKey("fl");
  return { key, record: { id, digest: await keyDigest(key, await pepperKey(world.FAIRLEAD_KEY_PEPPER)), account: "default", rights: ["inference"] } };
}

export function routeService(name: string, more: Partial<z.input<typeof routeServiceSchema>> = {}): RouteService {
  return routeServiceSchema.parse({ name, version: 1, models: [name], listed: true, createdAt: 1_700_000_000_000, providers: [], selfHosted: true, timeouts: { ttftMs: 5_000, totalMs: 60_000 }, bodyBytesMax: 1_000_000, ...more });
}

export function fleetService(name: string, count: number, more: Partial<Bundle["fleet"]["services"][number]["task"]> = {}, region: Region = "local"): Bundle["fleet"]["services"][number] {
  return {
    task: {
      service: name, version: 1, digest: `${name}-1`, run: "serve", envs: {}, drainMs: 1000, gpus: 0,
      probe: { path: "/", initialDelayMs: 1000, timeoutMs: 1000, intervalMs: 1000, failureThresholdMs: 1000, headers: {} },
      ...more,
    },
    replicas: { [region]: count },
    sealedSecrets: {},
  };
}

export function bundle(version: number, { services = [], keys = [], fleet = [], hosts = [], removed = [] }: { services?: RouteService[]; keys?: Bundle["route"]["keys"]; fleet?: Bundle["fleet"]["services"]; hosts?: TestHost[]; removed?: string[] }): Bundle {
  return {
    route: { version, publishedAt: Date.now(), services, keys },
    fleet: { services: fleet, hosts: hosts.map(({ id, region, publicKey }) => ({ id, name: id, region, publicKey, revoked: false })), removed },
  };
}

export function publish(value: unknown): Promise<Response> {
  return self.fetch("http://router/internal/bundle", { method: "PUT", headers: { authorization: `Bearer ${world.FAIRLEAD_CONTROL_TOKEN}`, "content-type": "application/json" }, body: JSON.stringify(value) });
}

/** What a test's agent says otherwise than an ordinary one of protocol 1. */
export interface HelloChange {
  signature?: string;
  protocol?: number;
  instance?: string;
  relays?: number;
}

/** An agent's control link, driven by the test message by message. */
export class TestLink {
  readonly socket: WebSocket;
  readonly inbox: HubMessage[] = [];
  closed: { code: number; reason: string } | undefined;
  welcome: Welcome | undefined;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.accept();
    socket.addEventListener("message", ({ data }) => {
      this.inbox.push(JSON.parse(String(data)) as HubMessage);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
    });
  }

  static async open(region: string): Promise<TestLink> {
    const response = await self.fetch(`http://fleet/agents/link/${region}`, { headers: { upgrade: "websocket" } });
    if (response.webSocket === null) throw new Error(`no socket: ${response.status} ${await response.text()}`);
    return new TestLink(response.webSocket);
  }

  /** Through challenge, hello and welcome. */
  static async join(host: TestHost, change: HelloChange = {}): Promise<TestLink> {
    const link = await TestLink.open(host.region);
    await link.hello(host, change);
    link.welcome = await link.next("welcome");
    return link;
  }

  async hello(host: TestHost, change: HelloChange = {}): Promise<void> {
    const challenge: Challenge = await this.next("challenge");
    const nonce = toBase64(crypto.getRandomValues(new Uint8Array(32)));
    const hello = { type: "hello" as const, host: host.id, region: host.region, protocol: change.protocol ?? 1, agentVersion: "test", nonce };
    const more = { ...(change.instance === undefined ? {} : { instance: change.instance }), ...(change.relays === undefined ? {} : { relays: change.relays }) };
    this.say({ ...hello, ...more, signature: change.signature ?? (await host.sign(helloText(challenge, hello))) });
  }

  say(message: AgentMessage | string): void {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  beat(replicas: ReplicaState[], more: { generation?: number; relays?: number[]; draining?: boolean; reclaim?: ReclaimNotice; direct?: { url: string } } = {}): void {
    const optional = { ...(more.reclaim === undefined ? {} : { reclaim: more.reclaim }), ...(more.direct === undefined ? {} : { direct: more.direct }) };
    this.say({ type: "heartbeat", epoch: this.welcome?.epoch ?? 0, generation: more.generation ?? 0, relays: more.relays ?? [0], draining: more.draining ?? false, ...optional, replicas });
  }

  /** The next message of a type; earlier ones are dropped. */
  next<T extends HubMessage["type"]>(type: T): Promise<Extract<HubMessage, { type: T }>> {
    return soon(`a message "${type}"`, 20_000, () => {
      const at = this.inbox.findIndex((message) => message.type === type);
      return at < 0 ? undefined : (this.inbox.splice(0, at + 1).at(-1) as Extract<HubMessage, { type: T }>);
    });
  }

  /** The first assignment that has so many replicas. */
  assigned(count: number): Promise<Assign> {
    return soon(`an assignment of ${count} replicas`, 20_000, () => this.inbox.filter((message): message is Assign => message.type === "assign").find(({ replicas }) => replicas.length === count));
  }
}

export function replicaState(assigned: Assign["replicas"][number], more: Partial<ReplicaState> = {}): ReplicaState {
  return { ...assigned, phase: "ready", since: Date.now(), restarts: 0, wasReady: true, inFlight: 0, ...more };
}

/** An agent's data link: frames in, frames out. */
export class TestRelayLink {
  readonly socket: WebSocket;
  readonly frames: Frame[] = [];
  messages = 0;
  closed: { code: number; reason: string } | undefined;
  /** Called for every frame as it comes, if set. */
  onFrame: ((frame: Frame) => void) | undefined;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.accept();
    socket.addEventListener("message", ({ data }) => {
      this.messages++;
      for (const frame of decodeFrames(data as ArrayBuffer)) {
        this.frames.push(frame);
        this.onFrame?.(frame);
      }
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
    });
  }

  static async open(host: string, { index, ticket }: { index: number; ticket: string }): Promise<TestRelayLink> {
    const response = await self.fetch(`http://fleet/agents/relay/${host}/${index}`, { headers: { upgrade: "websocket", authorization: `Bearer ${ticket}` } });
    if (response.webSocket === null) throw new Error(`no socket: ${response.status} ${await response.text()}`);
    return new TestRelayLink(response.webSocket);
  }

  send(...frames: Frame[]): void {
    this.socket.send(encodeFrames(frames));
  }

  next(kind: Frame["kind"], stream?: number): Promise<Frame> {
    return soon(`a frame of kind ${kind}`, 20_000, () => {
      const at = this.frames.findIndex((frame) => frame.kind === kind && (stream === undefined || frame.stream === stream));
      return at < 0 ? undefined : this.frames.splice(at, 1)[0];
    });
  }
}
