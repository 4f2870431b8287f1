import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { Agent } from "../e2e/agent.ts";
import { addressOf } from "../e2e/upstreams.ts";
import { engineYaml } from "../e2e/world.ts";
import { Cluster } from "./cluster.ts";
import { longestGapMs, readStreamed, type Streamed } from "./streamed.ts";

const echo = join(import.meta.dirname, "../e2e/echo.ts");
const tokens = 100;
/** Where the first stream is when it happens: all have begun, none is near its end. */
const faultAt = 40;
const request = { stream: true, max_tokens: tokens, seed: 1, ignore_eos: true };

/** A cluster with one host, and what is asked of it, for the tests of a file. */
export function clusterUnderLoad(): { readonly world: Cluster; readonly host: Agent; readonly load: Load } {
  let world: Cluster;
  let host: Agent;
  let load: Load;
  beforeAll(async () => {
    world = await Cluster.create();
    host = await Agent.join(world, "host");
    await host.run();
    load = await Load.start(world);
  });
  afterAll(async () => {
    await host?.stop();
    await world?.stop();
  });
  return { get world() { return world; }, get host() { return host; }, get load() { return load; } };
}

/** A stream, whether it went on by another Relay, and its longest pause since the fault. */
export interface Survivor extends Streamed {
  reattached: boolean;
  pauseMs: number;
}

export interface Outcome {
  streams: Survivor[];
  /** What each should say. */
  expected: string;
  /** What the engine did for all of them. */
  cost: { tokens: number; aborted: number };
}

/** An engine with room for all streams at once and a service that is no LLM, and whoever asks them. */
export class Load {
  readonly #world: Cluster;
  readonly #engine: string;

  private constructor(world: Cluster, engine: string) {
    this.#world = world;
    this.#engine = engine;
  }

  static async start(world: Cluster): Promise<Load> {
    await world.apply("steady", engineYaml("steady", { flags: "--itl 20ms --ttft 5ms --slots 64" }));
    await world.apply("echo", `name: echo\nservice:\n  readiness_probe: /\n  replicas: 1\nrun: exec node ${echo} $PORT\n`);
    await world.ready("steady", 1);
    await world.ready("echo", 1);
    return new Load(world, await addressOf(world, "steady"));
  }

  async #counted(): Promise<Outcome["cost"]> {
    const { tokens: made, aborted } = (await (await fetch(`${this.#engine}/_sim/stats`)).json()) as Outcome["cost"];
    return { tokens: made, aborted };
  }

  /** What the model says, undisturbed, asked at the engine itself. */
  async #oracle(): Promise<string> {
    const body = { model: "steady", messages: [{ role: "user", content: "Hello" }], ...request, stream: false };
    const response = await fetch(`${this.#engine}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    return ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content ?? "";
  }

  /** So many streams, a fault in the middle of them, and what mends it when all have ended. */
  async streamsThrough(fault: () => Promise<void>, count: number, mend: () => Promise<void> = async () => undefined): Promise<Outcome> {
    const expected = await this.#oracle();
    const before = await this.#counted();
    let happened: Promise<void> | undefined;
    let happenedAt = 0;
    const all = await Promise.all(Array.from({ length: count }, async (_, i) => {
      const response = await this.#world.chat("steady", request);
      const streamed = await readStreamed(response, (index) => {
        if (i !== 0 || index !== faultAt) return;
        happenedAt = Date.now();
        happened = fault();
      });
      return { streamed, id: response.headers.get("x-request-id") ?? "" };
    }));
    await happened;
    await mend();
    const after = await this.#counted();
    const log = this.#world.logOf("front").split("\n").filter((line) => line.includes("an answer goes on through another relay"));
    return {
      expected,
      streams: all.map(({ streamed, id }) => ({ ...streamed, pauseMs: longestGapMs(streamed, happenedAt), reattached: log.some((line) => line.includes(id)) })),
      cost: { tokens: after.tokens - before.tokens - count * tokens, aborted: after.aborted - before.aborted },
    };
  }

  /** So many requests at once, which cost two tokens each. @returns how long each took, in ms */
  asked(count: number): Promise<number[]> {
    return Promise.all(Array.from({ length: count }, async () => {
      const at = Date.now();
      const response = await this.#world.chat("steady", { max_tokens: 2 });
      await response.arrayBuffer();
      if (response.status !== 200) throw new Error(`a request was answered with ${response.status}`);
      return Date.now() - at;
    }));
  }

  /** Requests to both, one after the other, until told to stop; those that were not answered well. */
  requests(): { stop(): Promise<{ answered: number; failed: unknown[] }> } {
    const over = new AbortController();
    const told = { answered: 0, failed: [] as unknown[] };
    const work = (async () => {
      for (let i = 0; !over.signal.aborted; i++) {
        const response = await (i % 2 === 0 ? this.#world.chat("steady", { max_tokens: 2 }) : this.#world.fetch("/s/echo/"));
        const text = await response.text();
        if (response.status === 200) told.answered++;
        else told.failed.push([response.status, text]);
      }
    })();
    return {
      async stop() {
        over.abort();
        await work;
        return told;
      },
    };
  }
}
