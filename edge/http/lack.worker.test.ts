import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { exposition } from "../../test/exposition.ts";
import { forget, vendor } from "../../test/worker/cold.ts";
import { bundle, publish, routeService, self, soon, testKey, world } from "../../test/worker/world.ts";
import { tellWanted } from "../decisions.ts";

beforeEach(forget);
afterEach(() => {
  vi.restoreAllMocks();
  forget();
});

let version = Date.now();

/** A service without a replica, and who asks it. */
async function service(name: string, more: Parameters<typeof routeService>[1] = {}): Promise<(path?: string) => Promise<Response>> {
  const { key, record } = await testKey();
  await publish(bundle(++version, { services: [routeService(name, more)], keys: [record] }));
  return (path = "/v1/chat/completions") => self.fetch(`http://router${path}`, { method: "POST", headers: { authorization: `Bearer ${key}` }, body: JSON.stringify({ model: name, messages: [{ role: "user", content: "hi" }] }) });
}

/** What the Hub knows of a service's demand, as its metrics tell. */
async function figures(name: string): Promise<Record<string, number>> {
  const samples = exposition(await (await self.fetch("http://router/metrics")).text());
  return Object.fromEntries(samples.flatMap(({ name: metric, labels, value }) => (labels["service"] === name && /arrivals|lacks|held|spilled/.test(metric) ? [[[metric.replace(/fairlead_|_total/g, ""), labels["status"]].filter(Boolean).join(" "), value]] : [])));
}

test.each(["/v1/chat/completions", "/s/nobody/page"])("a request to %s that finds no replica is told at once", async (path) => {
  const name = path.startsWith("/v1") ? "empty" : "nobody";
  const ask = await service(name);
  expect((await ask(path)).status).toBe(503);
  // what comes together is told after a second: this is not
  await soon("the arrival", 700, async () => ((await figures(name))["arrivals"] === 1 ? true : undefined));
  for (let i = 0; i < 3; i++) expect((await ask(path)).status).toBe(503);
  await soon("the refusals", 20_000, async () => ((await figures(name))["capacity_lacks refused"] === 4 ? true : undefined));
});

test("a request that goes to a provider for lack of a replica is told at once, with its place there until it is over", async () => {
  const ask = await service("covered", { providers: [vendor] });
  const vendors = { answer: false };
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => {
    while (!vendors.answer) await scheduler.wait(5);
    return Response.json({ choices: [{ message: { content: "Hi" }, finish_reason: "stop" }] });
  });
  const asked = ask();
  await soon("the want", 700, async () => ((await figures("covered"))["spilled_requests"] === 1 ? true : undefined));
  vendors.answer = true;
  expect((await asked).headers.get("x-fairlead-upstream")).toBe("vendor");
  expect(await soon("its end", 20_000, async () => { const now = await figures("covered"); return now["capacity_lacks spilled"] === 1 ? now : undefined; })).toEqual({ arrivals: 1, "capacity_lacks spilled": 1 });
});

test("a service without replicas of its own wants none", async () => {
  const ask = await service("rented", { selfHosted: false, providers: [vendor] });
  vi.spyOn(globalThis, "fetch").mockImplementation(async () => Response.json({ choices: [{ message: { content: "Hi" }, finish_reason: "stop" }] }));
  expect((await ask()).status).toBe(200);
  expect(await soon("what is told of it", 20_000, async () => { const now = await figures("rented"); return now["arrivals"] === 1 ? now : undefined; })).toEqual({ arrivals: 1 });
});

test("a lack is told once a second a service, and one that cannot be told costs nobody anything", async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const works: Promise<unknown>[] = [];
  const tell = (name: string, at: number): number => (tellWanted(world, new Request("http://router/"), (work) => works.push(work), name, at), works.length);
  expect([tell("a", 1_000_000), tell("a", 1_000_999), tell("b", 1_000_999), tell("a", 1_001_000), tell("a", 1_001_500)]).toEqual([1, 1, 2, 3, 3]);
  vi.spyOn(world.HUB, "getByName").mockImplementation(() => {
    throw new Error("away");
  });
  expect(tell("a", 1_003_000)).toBe(4);
  await Promise.all(works);
});
