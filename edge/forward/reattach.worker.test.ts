import { runInDurableObject } from "cloudflare:test";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { attachTarget, frameKinds, jsonFrame, noPayload, readRequestHead, readReset, windowBytes, windowFrame, type Frame, type RequestHead, type ResetReason } from "../../schema/frames.ts";
import { linkTimes, type Assign } from "../../schema/protocol.ts";
import { bundle, fleetService, newHost, publish, replicaState, routeService, self, soon, testKey, TestLink, TestRelayLink, world } from "../../test/worker/world.ts";
import { Relay } from "../relay/relay.ts";
import { forgetView } from "../view.ts";
import { forgetUpstreams } from "./memory.ts";
import { questionMs, quietMs } from "./vigil.ts";

const encoder = new TextEncoder();
const host = "host_reattach";
let key = "";
let control: TestLink;
let replicas: Assign["replicas"] = [];
let generation = 0;
/** The agent's two data links, by index. */
const links: (TestRelayLink | undefined)[] = [undefined, undefined];

const beat = (): void => control.beat(replicas.map((one) => replicaState(one)), { generation, relays: [0, 1] });

async function connect(index: number): Promise<TestRelayLink> {
  control.say({ type: "tickets", epoch: control.welcome?.epoch ?? 0 });
  const ticket = (await control.next("relays")).relays[index];
  if (ticket === undefined) throw new Error(`no ticket for relay ${index}`);
  const link = await TestRelayLink.open(host, ticket);
  links[index] = link;
  return link;
}

beforeAll(async () => {
  const { key: text, record } = await testKey();
  key = text;
  const known = await newHost(host);
  await publish(bundle(Date.now(), { services: [routeService("chat", { timeouts: { ttftMs: 5_000, idleMs: 5_000, totalMs: 20_000 } })], hosts: [known], fleet: [fleetService("chat", 1)], keys: [record] }));
  control = await TestLink.join(known);
  ({ replicas, generation } = await control.assigned(1));
  beat();
  await soon("a ready replica", 20_000, async () => ((await world.HUB.getByName("local").snapshot()).replicas.some(({ phase }) => phase === "ready") ? true : undefined));
});
beforeEach(async () => {
  forgetView();
  forgetUpstreams();
  beat();
  for (const index of [0, 1]) await connect(index);
});
afterAll(() => links.forEach((link) => link?.socket.close(1000, "done")));

function ask(stream: boolean): Promise<Response> {
  return self.fetch("http://router/v1/chat/completions", { method: "POST", headers: { authorization: `Bearer ${key}`, "content-type": "application/json" }, body: JSON.stringify({ model: "chat", stream, messages: [{ role: "user", content: "hi" }] }) });
}

/** One request as the agent sees it. */
interface Opened {
  index: number;
  link: TestRelayLink;
  stream: number;
  head: RequestHead;
  say: (...frames: Frame[]) => void;
}

/** The next request on either link. */
async function opened(): Promise<Opened> {
  const one = await soon("a request", 20_000, () => {
    for (const [index, link] of links.entries()) {
      const at = link?.frames.findIndex(({ kind }) => kind === frameKinds.open) ?? -1;
      if (link && at >= 0) return { index, link, frame: link.frames.splice(at, 1)[0] as Frame };
    }
    return undefined;
  });
  const { index, link, frame } = one;
  const say = (...frames: Frame[]): void => link.send(...frames);
  // the sign that it has arrived
  say(windowFrame(frame.stream, windowBytes));
  return { index, link, stream: frame.stream, head: readRequestHead(frame), say };
}

const headOf = ({ stream }: Opened, type = "text/event-stream"): Frame => jsonFrame(frameKinds.open, stream, { status: 200, headers: [["content-type", type]] });
const bytesOf = ({ stream }: Opened, payload: Uint8Array, sequence = 0): Frame => ({ kind: frameKinds.data, stream, sequence, payload });
const endOf = ({ stream }: Opened): Frame => ({ kind: frameKinds.end, stream, sequence: 0, payload: noPayload });
const resetOf = ({ stream }: Opened, code: ResetReason["code"]): Frame => jsonFrame(frameKinds.reset, stream, { code, message: "" });

/** No more opens than those that were looked at. */
function nothingElse(): void {
  expect(links.flatMap((link) => link?.frames.filter(({ kind }) => kind === frameKinds.open) ?? [])).toEqual([]);
}

const words = ["one", " zwei", " trois", " четыре", " 五", " 🙂six", " \"seven\"", " acht\\n"];
const events = words.map((content, i) => `data: ${JSON.stringify({ id: "c", choices: [{ index: 0, delta: { content }, finish_reason: i === words.length - 1 ? "stop" : null }] })}\n\n`);
const whole = `${events.join("")}data: [DONE]\n\n`;
const wholeBytes = encoder.encode(whole);
/** Places to cut at, spread over the answer, inside events and characters: the same in every run. */
const cuts = Array.from({ length: 12 }, (_, i) => 1 + ((i * 7919 + 13) % (wholeBytes.byteLength - 1)));

const withoutComments = (text: string): string => text.replaceAll(": \n\n", "");

const losses: [string, (one: Opened) => Promise<void>][] = [
  ["its agent's socket closes", async ({ link }) => link.socket.close(1011, "cut")],
  [
    "its object is aborted",
    async ({ index }) => {
      await runInDurableObject(world.RELAY.getByName(`${host}/${index}`), (_, state) => state.abort("lost")).catch(() => undefined);
    },
  ],
  ["the agent connects anew before the loss is noticed", async ({ index }) => void (await connect(index))],
];

describe.each(losses)("row 20: a relay is lost (%s)", (_, lose) => {
  test("in the middle of a stream: it goes on through the other, byte for byte, wherever it was cut", async () => {
    for (const cut of cuts) {
      const response = ask(true);
      const first = await opened();
      expect(first.head).toMatchObject({ target: expect.stringMatching(/^chat\./), attempt: { turn: 0 } });
      first.say(headOf(first), bytesOf(first, wholeBytes.slice(0, cut)));
      // an answer begins with its first whole event; what comes of it earlier is lost with the relay, or not
      await Promise.race([response, scheduler.wait(20)]);
      await lose(first);
      const second = await opened();
      const from = second.head.attempt?.from ?? 0;
      expect(second.head.attempt).toMatchObject({ id: first.head.attempt?.id, turn: 1 });
      expect(from).toBeLessThanOrEqual(cut);
      second.say(headOf(second), bytesOf(second, wholeBytes.slice(from)), endOf(second));
      expect(withoutComments(await (await response).text())).toBe(whole);
      nothingElse();
      for (const index of [0, 1]) await connect(index);
    }
  });

  test("again and again", async () => {
    const response = ask(true);
    // a client that does not read is no reason to look for its answer
    const text = response.then((begun) => begun.text());
    let one = await opened();
    const steps = [60, 200, 330, 500];
    for (const [i, to] of steps.entries()) {
      one.say(headOf(one), bytesOf(one, wholeBytes.slice(one.head.attempt?.from ?? 0, to)));
      await Promise.race([response, scheduler.wait(20)]);
      await lose(one);
      const { index } = one;
      one = await opened();
      expect(one.head.attempt?.turn).toBeGreaterThan(i);
      await connect(index);
    }
    one.say(headOf(one), bytesOf(one, wholeBytes.slice(one.head.attempt?.from ?? 0)), endOf(one));
    expect(withoutComments(await text)).toBe(whole);
  });

  test("before the head: the other asks for the same attempt, which is not begun again", async () => {
    const response = ask(true);
    const first = await opened();
    await lose(first);
    const second = await opened();
    expect(second.head).toMatchObject({ target: first.head.target, attempt: { id: first.head.attempt?.id, turn: 1 } });
    second.say(headOf(second), bytesOf(second, wholeBytes), endOf(second));
    expect(withoutComments(await (await response).text())).toBe(whole);
    nothingElse();
  });

  test("in the middle of an answer that is no stream", async () => {
    const body = encoder.encode(JSON.stringify({ choices: [{ message: { content: words.join("") } }] }));
    const response = ask(false);
    const first = await opened();
    first.say(headOf(first, "application/json"), bytesOf(first, body.slice(0, 20)));
    await scheduler.wait(20);
    await lose(first);
    const second = await opened();
    const from = second.head.attempt?.from ?? 0;
    second.say(headOf(second, "application/json"), bytesOf(second, body.slice(from)), endOf(second));
    expect(await (await response).json()).toEqual(JSON.parse(new TextDecoder().decode(body)));
    nothingElse();
  });
});

describe("row 20: a relay whose object is stuck", () => {
  const stuck = { begun: false, over: true };
  const thaw = (): void => void (stuck.over = true);

  /** Nothing that comes for it is handed to it: neither calls nor its agent's frames. */
  async function freeze({ index }: { index: number }): Promise<void> {
    Object.assign(stuck, { begun: false, over: false });
    void runInDurableObject(world.RELAY.getByName(`${host}/${index}`), (_, state) => {
      void state.blockConcurrencyWhile(async () => {
        stuck.begun = true;
        while (!stuck.over) await scheduler.wait(20);
      });
    });
    await soon("the object to be stuck", 2_000, () => (stuck.begun ? true : undefined));
  }

  /** What came of it by the stuck relay's agent is nobody's. */
  const dropped = (): void => links.forEach((link) => link?.frames.splice(0));

  /** Until both are asked again. */
  async function heardAgain(): Promise<void> {
    thaw();
    dropped();
    const seen = new Set<number>();
    await soon("both relays to be asked", 9_000, async () => {
      const response = ask(false);
      const one = await opened();
      seen.add(one.index);
      one.say(headOf(one, "application/json"), bytesOf(one, encoder.encode("{}")), endOf(one));
      await (await response).arrayBuffer();
      return seen.size === 2 ? true : undefined;
    });
  }

  afterEach(heardAgain);

  test("in the middle of a stream: it goes on through the other, byte for byte, and requests after it know", async () => {
    const response = ask(true);
    const first = await opened();
    first.say(headOf(first), bytesOf(first, wholeBytes.slice(0, 150)));
    const text = (await response).text();
    await freeze(first);
    first.say(bytesOf(first, wholeBytes.slice(150, 200), 1));
    // the idle limit would end it
    const second = await opened();
    expect(second.index).not.toBe(first.index);
    expect(second.head.attempt).toMatchObject({ id: first.head.attempt?.id, turn: 1, from: 150 });
    second.say(headOf(second), bytesOf(second, wholeBytes.slice(150)), endOf(second));
    expect(withoutComments(await text)).toBe(whole);
    // nobody waits for it a second time
    for (let i = 0; i < 8; i++) {
      const next = ask(false);
      const one = await opened();
      expect(one).toMatchObject({ index: second.index, head: { attempt: { turn: 0 } } });
      one.say(headOf(one, "application/json"), bytesOf(one, encoder.encode("{}")), endOf(one));
      expect((await next).status).toBe(200);
    }
    nothingElse();
  });

  test.each([true, false])("before the head: the other asks for the same attempt, and explain says so (stream: %s)", async (stream) => {
    const response = ask(stream);
    const first = await opened();
    await freeze(first);
    const second = await opened();
    expect(second.head).toMatchObject({ target: first.head.target, attempt: { id: first.head.attempt?.id, turn: 1 } });
    expect(second.head.attempt?.from).toBeUndefined();
    const body = stream ? wholeBytes : encoder.encode("{}");
    second.say(headOf(second, stream ? undefined : "application/json"), bytesOf(second, body), endOf(second));
    const answer = await response;
    expect(withoutComments(await answer.text())).toBe(stream ? whole : "{}");
    const record = await soon("its record", 5_000, async () => (await world.HUB.getByName("local").explain(answer.headers.get("x-request-id") ?? "")).decision);
    expect(record.attempts).toMatchObject([{ outcome: "answer", detour: true }]);
  });

  test("in the middle of an answer that is no stream", async () => {
    const body = encoder.encode(JSON.stringify({ choices: [{ message: { content: words.join("") } }] }));
    const response = ask(false);
    const first = await opened();
    first.say({ ...jsonFrame(frameKinds.open, first.stream, { status: 200, headers: [["content-type", "application/json"], ["content-length", String(body.byteLength)]] }) }, bytesOf(first, body.slice(0, 20)));
    await scheduler.wait(20);
    await freeze(first);
    const second = await opened();
    expect(second.head.attempt).toMatchObject({ id: first.head.attempt?.id, turn: 1, from: 0 });
    second.say(headOf(second, "application/json"), bytesOf(second, body), endOf(second));
    expect(await (await response).json()).toEqual(JSON.parse(new TextDecoder().decode(body)));
  });

  test("is waited for where the host has no other: a stream goes on when it is back", async () => {
    const response = ask(true);
    const first = await opened();
    links[1 - first.index]?.socket.close(1000, "done");
    first.say(headOf(first), bytesOf(first, encoder.encode(events[0])));
    const text = (await response).text();
    await freeze(first);
    await scheduler.wait(2_000);
    nothingElse();
    thaw();
    first.say(bytesOf(first, wholeBytes.slice(encoder.encode(events[0]).byteLength), 1), endOf(first));
    expect(withoutComments(await text)).toBe(whole);
    await connect(1 - first.index);
  });
});

test("row 19: a Relay of an older fleet, which does not know the question whether it is there, is not taken for silent", async () => {
  const said = vi.spyOn(console, "warn");
  const known = Object.getOwnPropertyDescriptor(Relay.prototype, "isLinked") ?? expect.fail();
  Reflect.deleteProperty(Relay.prototype, "isLinked");
  try {
    const response = ask(false);
    const one = await opened();
    await scheduler.wait(quietMs.beginning + 2 * questionMs);
    nothingElse();
    one.say(headOf(one, "application/json"), bytesOf(one, encoder.encode("{}")), endOf(one));
    expect(await (await response).text()).toBe("{}");
    expect(said).not.toHaveBeenCalled();
  } finally {
    Object.defineProperty(Relay.prototype, "isLinked", known);
    said.mockRestore();
  }
});

describe("an answer that cannot go on", () => {
  /** A stream that was begun, and whose relay is then lost. */
  async function begunAndLost(): Promise<{ text: Promise<string>; second: Opened; began: number }> {
    const response = ask(true);
    const first = await opened();
    first.say(headOf(first), bytesOf(first, encoder.encode(events[0])));
    const text = (await response).text();
    const began = Date.now();
    first.link.socket.close(1011, "cut");
    return { text, second: await opened(), began };
  }

  test.each([
    ["row 37: what the agent does not keep any more", "gone"],
    ["row 19: an agent that knows no attempts", "no_target"],
    ["row 2: a replica that was lost meanwhile", "upstream_lost"],
  ] as const)("%s ends with one typed error and no [DONE], at once", async (_, code) => {
    const { text, second, began } = await begunAndLost();
    expect(second.head.target).toBe(attachTarget);
    second.say(resetOf(second, code));
    const got = withoutComments(await text);
    expect(got.startsWith(events[0] ?? "")).toBe(true);
    expect(got.split('"error"')).toHaveLength(2);
    expect(got).toContain('"code":"provider_unreachable"');
    expect(got).not.toContain("[DONE]");
    expect(Date.now() - began).toBeLessThan(1_000);
    nothingElse();
  });

  test("row 2: what a replica said before it broke off is delivered, and one look tells that nothing is left", async () => {
    const response = ask(true);
    const first = await opened();
    first.say(headOf(first), bytesOf(first, encoder.encode(events.slice(0, 3).join(""))), resetOf(first, "upstream_lost"));
    const second = await opened();
    expect(second.head.attempt).toEqual({ id: first.head.attempt?.id, turn: 1, from: encoder.encode(events.slice(0, 3).join("")).byteLength });
    second.say(resetOf(second, "upstream_lost"));
    const got = withoutComments(await (await response).text());
    expect(got.startsWith(events.slice(0, 3).join(""))).toBe(true);
    expect(got).toContain('"code":"provider_unreachable"');
    nothingElse();
  });

  test("row 13: an agent that does not come back is waited for no longer than it keeps its answers", async () => {
    const response = ask(true);
    const first = await opened();
    first.say(headOf(first), bytesOf(first, encoder.encode(events[0])));
    const text = (await response).text();
    const began = Date.now();
    for (const link of links) link?.socket.close(1011, "cut");
    expect(await text).toContain('"code":"provider_unreachable"');
    expect(Date.now() - began).toBeLessThan(linkTimes.parkMs);
  });

  test("row 20: both relays lost: the stream goes on when the agent is back, and comments flow meanwhile", async () => {
    const response = ask(true);
    const first = await opened();
    first.say(headOf(first), bytesOf(first, encoder.encode(events[0])));
    const text = (await response).text();
    for (const link of links) link?.socket.close(1011, "cut");
    await scheduler.wait(900);
    await connect(1);
    const second = await opened();
    second.say(headOf(second), bytesOf(second, wholeBytes.slice(second.head.attempt?.from)), endOf(second));
    expect(withoutComments(await text)).toBe(whole);
    expect(await text).toContain(": \n\n");
  });

  test("row 26: a client that leaves after its stream has changed relays is told to the agent, through the relay that has it", async () => {
    const response = await (async () => {
      const asked = ask(true);
      const first = await opened();
      first.say(headOf(first), bytesOf(first, encoder.encode(events[0])));
      const begun = await asked;
      first.link.socket.close(1011, "cut");
      return begun;
    })();
    const second = await opened();
    second.say(headOf(second), bytesOf(second, encoder.encode(events[1])));
    await response.body?.cancel();
    expect(readReset(await second.link.next(frameKinds.reset, second.stream)).code).toBe("cancelled");
  });
});
