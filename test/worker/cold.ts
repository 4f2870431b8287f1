import { expect } from "vitest";
import { forgetDecisions } from "../../edge/decisions.ts";
import { forgetUpstreams, remembered } from "../../edge/forward/memory.ts";
import { forgetTelemetry } from "../../edge/telemetry/telemetry.ts";
import { forgetView } from "../../edge/view.ts";
import type { RouteService } from "../../schema/bundle.ts";
import { frameKinds, jsonFrame, noPayload, windowBytes, windowFrame, type Frame } from "../../schema/frames.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, self, soon, testKey, TestLink, TestRelayLink } from "./world.ts";

let version = Date.now();

/** A cold isolate. */
export function forget(): void {
  forgetDecisions();
  forgetTelemetry();
  forgetUpstreams();
  forgetView();
}

/** Who covers for it. */
export const vendor = { name: "vendor", endpoint: "https://vendor.example/v1", dialect: "openai" as const };
/** What is said, whole and in events. */
export const answer = { choices: [{ message: { content: "Hi" }, finish_reason: "stop" }] };
export const events = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "Hi" } }] })}\n\ndata: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`;

/** A service whose one replica is starting, on a host that is there. */
export class Cold {
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

  ready(is = true): void {
    this.#beat(is ? "ready" : "starting");
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
    return soon(`${count} that wait`, 20_000, () => (this.held === count ? true : undefined));
  }
}
