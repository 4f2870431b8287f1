import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Spoken = "aws" | "gcp" | "azure" | "alibaba";

/** How a question is answered in place of the truth. */
export type Fault = number | "garbage" | "hang";

/** A cloud's metadata service by its real protocol: tokens that expire, held answers, headers without which nothing is said. */
export class Metadata {
  readonly #server: Server;
  readonly #cloud: Spoken;
  readonly #tokens = new Map<string, number>();
  #held: (() => void)[] = [];
  #etag = 1;
  /** What is said under a path; a path without an entry is 404. */
  readonly said = new Map<string, string>();
  /** Questions, as `METHOD path`, without their queries. */
  readonly asked: string[] = [];
  /** How the next questions are answered. */
  readonly faults: Fault[] = [];
  /** Longest life of a token, whatever was asked for. */
  tokenMs = Infinity;
  /** Whether ECS's hardened mode is on. */
  hardened = false;
  /** Added to the clock that `date` headers tell. */
  skewMs = 0;

  private constructor(cloud: Spoken, server: Server) {
    this.#cloud = cloud;
    this.#server = server;
  }

  static async start(cloud: Spoken): Promise<Metadata> {
    const server = createServer((request, response) => metadata.#serve(request, response));
    const metadata = new Metadata(cloud, server);
    if (cloud === "gcp") for (const [path, value] of [["preempted", "FALSE"], ["maintenance-event", "NONE"]] as const) metadata.said.set(`/computeMetadata/v1/instance/${path}`, value);
    if (cloud === "azure") {
      metadata.said.set("/metadata/instance/compute", JSON.stringify({ name: "gpu_3", location: "westeurope" }));
      metadata.said.set("/metadata/scheduledevents", JSON.stringify({ DocumentIncarnation: 1, Events: [] }));
    }
    if (cloud === "alibaba") metadata.said.set("/latest/meta-data/instance-id", "i-bp1abc");
    await once(server.listen(0, "127.0.0.1"), "listening");
    return metadata;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The machine is taken back in so many milliseconds. */
  takeBack(inMs: number): void {
    const at = new Date(Date.now() + this.skewMs + inMs);
    const time = at.toISOString().replace(/\.\d+Z$/, "Z");
    if (this.#cloud === "aws") this.say("/latest/meta-data/spot/instance-action", JSON.stringify({ action: "terminate", time }));
    if (this.#cloud === "gcp") this.say("/computeMetadata/v1/instance/preempted", "TRUE");
    if (this.#cloud === "azure") {
      const event = { EventId: "1", EventStatus: "Scheduled", EventType: "Preempt", ResourceType: "VirtualMachine", Resources: ["gpu_3"], NotBefore: at.toUTCString(), Description: "", EventSource: "Platform", DurationInSeconds: -1 };
      this.say("/metadata/scheduledevents", JSON.stringify({ DocumentIncarnation: 2, Events: [event] }));
    }
    if (this.#cloud === "alibaba") this.say("/latest/meta-data/instance/spot/termination-time", time);
  }

  /** Something is said from now on; undefined: no longer. Held answers go out. */
  say(path: string, text: string | undefined): void {
    if (text === undefined) this.said.delete(path);
    else this.said.set(path, text);
    this.#etag++;
    for (const go of this.#held.splice(0)) go();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://metadata");
    const { headers, method = "GET" } = request;
    this.asked.push(`${method} ${url.pathname}`);
    response.setHeader("date", new Date(Date.now() + this.skewMs).toUTCString());
    const fault = this.faults.shift();
    if (fault === "hang") return;
    if (fault !== undefined) return void response.writeHead(fault === "garbage" ? 200 : fault, { "metadata-flavor": "Google" }).end(fault === "garbage" ? '<html>{"time": "soon"' : "");
    switch (this.#cloud) {
      case "aws":
      case "alibaba": {
        const prefix = this.#cloud === "aws" ? "x-aws-ec2-metadata-token" : "x-aliyun-ecs-metadata-token";
        if (url.pathname === "/latest/api/token") {
          const ttl = Number(headers[`${prefix}-ttl-seconds`]);
          if (method !== "PUT" || !(ttl >= 1 && ttl <= 21_600)) return void response.writeHead(400).end();
          const token = randomBytes(40).toString("base64");
          this.#tokens.set(token, Date.now() + Math.min(ttl * 1_000, this.tokenMs));
          return void response.end(token);
        }
        const isKnown = (this.#tokens.get(String(headers[prefix])) ?? 0) > Date.now();
        if (!isKnown && this.#cloud === "aws") return void response.writeHead(401).end();
        if (!isKnown && this.hardened) return void response.writeHead(403).end();
        return this.#tell(response, url.pathname);
      }
      case "gcp": {
        if (headers["metadata-flavor"] !== "Google") return void response.writeHead(403).end();
        response.setHeader("metadata-flavor", "Google");
        const now = (): void => {
          response.setHeader("etag", `e${this.#etag}`);
          this.#tell(response, url.pathname);
        };
        if (url.searchParams.get("wait_for_change") !== "true" || url.searchParams.get("last_etag") !== `e${this.#etag}`) return now();
        this.#held.push(now);
        return;
      }
      case "azure":
        if (headers["metadata"] !== "true" || !url.searchParams.has("api-version")) return void response.writeHead(400).end();
        return this.#tell(response, url.pathname);
    }
  }

  #tell(response: ServerResponse, path: string): void {
    const text = this.said.get(path);
    response.writeHead(text === undefined ? 404 : 200).end(text);
  }
}
