import { runInDurableObject } from "cloudflare:test";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { frameKinds, jsonFrame, noPayload, readRequestHead, readWindow, windowBytes, windowFrame, type Frame } from "../../schema/frames.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, self, soon, testKey, TestLink, TestRelayLink, world } from "../../test/worker/world.ts";
import type { Relay } from "./relay.ts";
import { carriageHeader } from "../forward/outcome.ts";
import { heldBytesMax } from "./held.ts";

const host = "host_saturated";
let key = "";
let control: TestLink;
let beating: ReturnType<typeof setInterval>;
const links: TestRelayLink[] = [];
/** Requests that came to the agent, by link. */
const came = [0, 0];
const page = new Uint8Array(64 * 1024).fill(120);
const answer = new TextEncoder().encode(JSON.stringify({ id: "c", choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }] }));

/** An agent that acknowledges at once. A request for `/flood` gets an answer without an end, as far as credit goes; others a short whole one. */
function serve(link: TestRelayLink, index: number): void {
  /** Body frames that were sent, and bytes that may be. */
  const floods = new Map<number, { sequence: number; credit: number }>();
  const pour = (stream: number, flood: { sequence: number; credit: number }): void => {
    for (; flood.credit >= page.byteLength; flood.credit -= page.byteLength) link.send({ kind: frameKinds.data, stream, sequence: flood.sequence++, payload: page });
  };
  link.onFrame = (frame: Frame) => {
    link.frames.length = 0;
    const { kind, stream } = frame;
    const flood = floods.get(stream);
    if (kind === frameKinds.window && flood !== undefined) {
      flood.credit += readWindow(frame);
      pour(stream, flood);
    }
    if (kind !== frameKinds.open) return;
    came[index] = (came[index] ?? 0) + 1;
    link.send(windowFrame(stream, windowBytes));
    if (readRequestHead(frame).path === "/flood") {
      link.send(jsonFrame(frameKinds.open, stream, { status: 200, headers: [["content-type", "application/octet-stream"]] }));
      const begun = { sequence: 0, credit: windowBytes };
      floods.set(stream, begun);
      pour(stream, begun);
    } else {
      link.send(jsonFrame(frameKinds.open, stream, { status: 200, headers: [["content-type", "application/json"]] }), { kind: frameKinds.data, stream, sequence: 0, payload: answer }, { kind: frameKinds.end, stream, sequence: 0, payload: noPayload });
    }
  };
}

beforeAll(async () => {
  const { key: text, record } = await testKey();
  key = text;
  const known = await newHost(host);
  await publish(bundle(Date.now(), { services: [routeService("chat")], hosts: [known], fleet: [fleetService("chat", 1)], keys: [record] }));
  control = await TestLink.join(known);
  const { replicas, generation } = await control.assigned(1);
  for (const index of [0, 1]) {
    const ticket = control.welcome?.relays[index];
    if (ticket === undefined) throw new Error(`no ticket for relay ${index}`);
    const link = await TestRelayLink.open(host, ticket);
    serve(link, index);
    links.push(link);
  }
  const beat = (): void => control.beat(replicas.map((one) => replicaState(one)), { generation, relays: [0, 1] });
  beat();
  // on a busy machine this takes longer than a lease
  beating = setInterval(beat, 1_000);
  await soon("a ready replica", 20_000, async () => ((await world.HUB.getByName("local").snapshot()).replicas.some(({ phase }) => phase === "ready") ? true : undefined));
});
afterAll(() => {
  clearInterval(beating);
  links.forEach((link) => link.socket.close(1000, "done"));
});

const relay = (index: number) => world.RELAY.getByName(`${host}/${index}`);

/** Every request that each Relay object is asked to carry from now on, by its id, whatever becomes of it. */
async function listen(): Promise<() => Promise<string[][]>> {
  const heard = new WeakMap<object, string[]>();
  const each = <T>(work: (one: Relay) => T): Promise<T[]> => Promise.all([0, 1].map((index) => runInDurableObject(relay(index), work)));
  await each((one) => {
    const ids: string[] = [];
    heard.set(one, ids);
    const carry = one.fetch.bind(one);
    one.fetch = (request) => {
      ids.push(request.headers.get("x-fairlead-request") ?? "");
      return carry(request);
    };
  });
  return () => each((one) => heard.get(one) ?? []);
}

/** A request straight to a Relay, whose answer nobody reads. */
function flood(index: number): Promise<Response> {
  return relay(index).fetch("http://carry/flood", { headers: { "x-fairlead-target": "chat.local.1", "x-fairlead-request": "req_1" } });
}

/** Requests until the Relay says that it is full; the answers that it holds. */
async function saturate(index: number): Promise<Response[]> {
  const held: Response[] = [];
  for (;;) {
    const answers = await Promise.all(Array.from({ length: 64 }, () => flood(index)));
    held.push(...answers.filter(({ headers }) => !headers.has(carriageHeader)));
    const refused = answers.map(({ headers }) => headers.get(carriageHeader)).filter((failure) => failure !== null);
    // its clock and its agent's messages get their turn
    await scheduler.wait(1);
    if (refused.length === 0) continue;
    expect(new Set(refused)).toEqual(new Set(["overloaded"]));
    return held;
  }
}

function ask(): Promise<Response> {
  return self.fetch("http://router/v1/chat/completions", { method: "POST", headers: { authorization: `Bearer ${key}`, "content-type": "application/json" }, body: JSON.stringify({ model: "chat", messages: [{ role: "user", content: "hi" }] }) });
}

describe("row 21: a Relay that is driven until it is full", { timeout: 120_000 }, () => {
  test("holds what it may and no more; what can go through another does, the rest is told 429 and when to come again, and nothing is asked of it twice", async () => {
    const first = await saturate(0);
    // its clock looks four times a second: what comes between two looks is not more than a window each
    expect(first.length * windowBytes).toBeGreaterThanOrEqual(heldBytesMax);
    expect(first.length * windowBytes).toBeLessThan(2 * heldBytesMax);

    const asked = await listen();
    came.fill(0);
    const through = await Promise.all(Array.from({ length: 20 }, ask));
    expect(await Promise.all(through.map(async (response) => [response.status, ((await response.json()) as { id: string }).id]))).toEqual(through.map(() => [200, "c"]));
    expect(came).toEqual([0, 20]);

    const second = await saturate(1);
    const askedBefore = (await asked()).map((ids) => ids.length);
    came.fill(0);
    const shed = await Promise.all(Array.from({ length: 20 }, ask));
    for (const response of shed) {
      expect(response.status).toBe(429);
      expect(Number(response.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
      // one replica, one attempt
      expect(Number(response.headers.get("x-fairlead-attempts"))).toBeLessThanOrEqual(1);
      expect(await response.json()).toEqual({ error: { message: expect.any(String) as string, type: "requests", param: null, code: "saturated" } });
    }
    expect(came).toEqual([0, 0]);
    const askedThen = (await asked()).map((ids, index) => ids.slice(askedBefore[index]));
    for (const ids of askedThen) expect(new Set(ids).size).toBe(ids.length);
    expect(askedThen.flat().length).toBeGreaterThan(0);

    await Promise.all([...first, ...second].map(async (response) => response.body?.cancel()));
    await soon("room again", 20_000, async () => {
      const response = await ask();
      await response.text();
      return response.status === 200 ? true : undefined;
    });
  });
});
