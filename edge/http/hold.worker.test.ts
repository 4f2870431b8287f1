import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { frameKinds, jsonFrame, type Frame } from "../../schema/frames.ts";
import { answer, Cold, events, forget, vendor } from "../../test/worker/cold.ts";
import { errorOf } from "../../test/worker/router.ts";
import { soon, world } from "../../test/worker/world.ts";
import { remembered } from "../forward/memory.ts";
import { waitingMax } from "../forward/room.ts";
import { forgetView } from "../view.ts";

beforeEach(forget);
afterEach(() => {
  vi.restoreAllMocks();
  forget();
});

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

  test("is remembered with the time it waited, whatever came of it; one that did not wait without", async () => {
    const recalled = (id: string | null) => soon("its decision", 20_000, async () => (await world.HUB.getByName("local").explain(id ?? "")).decision);
    const cold = await Cold.start("long", { fromZero: { holdMs: 10_000, fallback: false } });
    for (const ask of [() => cold.ask(), () => cold.ask({}, {}, "/s/long/v1/models")]) {
      cold.ready(false);
      await soon("the Hub's knowing", 20_000, async () => ((await world.HUB.getByName("local").snapshot()).replicas.some(({ service, phase }) => service === "long" && phase === "starting") ? true : undefined));
      forgetView();
      cold.answers(JSON.stringify(answer));
      const from = Date.now();
      const asked = ask();
      await cold.holds(1);
      await scheduler.wait(300);
      cold.ready();
      const response = await asked;
      const { heldMs } = await recalled(response.headers.get("x-request-id"));
      expect(heldMs).toBeGreaterThanOrEqual(300);
      expect(heldMs).toBeLessThanOrEqual(Date.now() - from);
      expect(await recalled((await ask()).headers.get("x-request-id"))).not.toHaveProperty("heldMs");
    }
    const vain = await Cold.start("longVain", { fromZero: { holdMs: 600, fallback: false } });
    // the 600 ms count from when it came
    expect((await recalled((await vain.ask()).headers.get("x-request-id"))).heldMs).toBeGreaterThan(500);
  });

  test("counts for the version that answered it, though none was there when it came", async () => {
    const cold = await Cold.start("canary", { fromZero: { holdMs: 10_000, fallback: false } });
    cold.answers(JSON.stringify(answer));
    const asked = cold.ask();
    await cold.holds(1);
    const hub = world.HUB.getByName("local");
    await hub.desire({ service: "canary", generation: 1, at: Date.now(), version: 1, desired: 1, regions: {}, decisions: [], rollout: { mode: "canary", state: "progressing", version: 1, shares: { 1: 1 }, reason: "" } });
    cold.ready();
    expect((await asked).status).toBe(200);
    expect(await soon("its count", 20_000, async () => (await hub.scaleFacts("canary")).versions[0])).toMatchObject({ version: 1, answers: 1, failures: 0 });
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
    await soon("its body", 20_000, () => (cold.relay.frames.filter(({ kind }) => kind === frameKinds.data).reduce((sum, { payload }) => sum + payload.byteLength, 0) === 1_000 ? true : undefined));
  });
});

test("a request that was sent to a replica which has just gone to zero waits for the next one", async () => {
  const cold = await Cold.start("gone", { fromZero: { holdMs: 10_000, fallback: false } });
  cold.answers(JSON.stringify(answer));
  cold.ready();
  expect((await cold.ask()).status).toBe(200);
  cold.ready(false);
  await soon("the Hub's knowing", 20_000, async () => ((await world.HUB.getByName("local").snapshot()).replicas.some(({ service, phase }) => service === "gone" && phase === "starting") ? true : undefined));
  cold.relay.onFrame = ({ kind, stream }) => void (kind === frameKinds.open && cold.relay.send(jsonFrame(frameKinds.reset, stream, { code: "draining", message: "the replica is draining" })));
  // the isolate's view is older than what may be asked anew, and younger than what is refreshed behind a request
  await scheduler.wait(300);
  const asked = cold.ask();
  await cold.holds(1);
  cold.answers(JSON.stringify(answer));
  cold.ready();
  const response = await asked;
  expect([response.status, response.headers.get("x-fairlead-attempts")]).toEqual([200, "2"]);
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
    const bodies = await soon("all bodies", 20_000, () => { const sent = cold.relay.frames.filter(({ kind }) => kind === frameKinds.data); return sent.length === 9 ? sent : undefined; });
    const users = bodies.map(({ payload }) => Number((JSON.parse(new TextDecoder().decode(payload)) as { user: string }).user));
    expect(new Set(users.slice(0, 2))).toEqual(new Set([0, 1]));
    expect(users.indexOf(8)).toBeGreaterThanOrEqual(6);
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

test("a provider covers for a replica that is new: what is more than it is seen to take does not wait in it, and moves over as it answers", async () => {
  const cold = await Cold.start("moving", { fromZero: { holdMs: 0, fallback: true }, providers: [{ ...vendor, fallback: true }] });
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => Response.json(answer));
  const by = async (): Promise<string | null> => (await cold.ask()).headers.get("x-fairlead-upstream");
  const given: Frame[] = [];
  cold.relay.onFrame = (frame) => void (frame.kind === frameKinds.open && given.push(frame));
  const answers: Promise<string | null>[] = [];

  expect(await by()).toBe("vendor");
  cold.ready();
  // it says nothing: two are all that it gets
  await soon("two at the replica", 20_000, () => (given.length === 2 ? true : void answers.push(by())));
  expect([await by(), given.length]).toEqual(["vendor", 2]);
  for (const frame of given.splice(0)) cold.answer(frame, JSON.stringify(answer));
  expect((await Promise.all(answers)).filter((upstream) => upstream === "replica")).toHaveLength(2);
  // what it answered makes room for more than that, and not for all
  let vendors = 0;
  answers.push(...Array.from({ length: 20 }, async () => {
    const upstream = await by();
    if (upstream === "vendor") vendors++;
    return upstream;
  }));
  await soon("all but a few answered", 20_000, () => (given.length > 2 && vendors + given.length >= 20 ? true : undefined));
  expect(given.length).toBeLessThanOrEqual(5);
  for (const frame of given) cold.answer(frame, JSON.stringify(answer));
  expect(new Set(await Promise.all(answers))).toEqual(new Set(["vendor", "replica"]));
});
