import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { frameKinds, jsonFrame, windowBytes, windowFrame } from "../../schema/frames.ts";
import { chat, errorOf, TestRouter } from "../../test/worker/router.ts";
import { routeService } from "../../test/worker/world.ts";

let router: TestRouter;

beforeAll(async () => {
  router = await TestRouter.start();
});
beforeEach(() => router.cold());
afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  await router.publish();
});
afterAll(() => router.stop());

type Providers = NonNullable<NonNullable<Parameters<typeof routeService>[1]>["providers"]>;
const vendor = (name: string): Providers => [{ name, endpoint: `http://${name}.test/v1`, dialect: "openai" }];
const moved = (service: string, provider: string): ReturnType<typeof routeService> => routeService(service, { models: ["moved"], selfHosted: false, providers: vendor(provider) });
const before = moved("before", "gone");
const after = moved("after", "here");

/** An isolate that knows `before`, whose upstream is gone, ten seconds after it was told so. */
async function whileStale(now: (typeof before)[], others = router.services): Promise<void> {
  vi.spyOn(globalThis, "fetch").mockImplementation((async (url: string) => {
    if (url.startsWith("http://here.test")) return Response.json({ from: "here" });
    throw new TypeError("connection refused");
  }) as unknown as typeof fetch);
  await router.publish([], [...router.services, before]);
  expect((await router.ask("/v1/models")).status).toBe(200);
  await router.publish([], [...others, ...now]);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 10_000 });
}

test.each([true, false])("a service by its name is not found when it is gone since the isolate last heard, and else fails as it does (gone: %s)", async (gone) => {
  await whileStale([], gone ? router.services.filter(({ name }) => name !== "web") : router.services);
  const [response] = await Promise.all([
    router.ask("/s/web/page"),
    router.relay.next(frameKinds.open).then(({ stream }) => router.relay.send(windowFrame(stream, windowBytes), jsonFrame(frameKinds.reset, stream, { code: "upstream_lost", message: "its port is closed" }))),
  ]);
  expect(await errorOf(response)).toMatchObject(gone ? { status: 404, error: { code: "service_not_found" } } : { status: 502, error: { code: "provider_unreachable" } });
});

describe("a model whose service is gone since the isolate last heard", () => {
  test("is served by the service that has it now", async () => {
    await whileStale([after]);
    const response = await router.post({ ...chat, model: "moved" });
    expect([response.status, await response.json()]).toEqual([200, { from: "here" }]);
  });

  test("is not found where nobody has it now", async () => {
    await whileStale([]);
    expect(await errorOf(await router.post({ ...chat, model: "moved" }))).toMatchObject({ status: 404, error: { code: "model_not_found" } });
  });

  test("is asked for once more and not for ever, where that one does not answer either", async () => {
    await whileStale([moved("after", "gone-too")]);
    expect(await errorOf(await router.post({ ...chat, model: "moved" }))).toMatchObject({ status: 502, error: { code: "provider_unreachable" } });
  });

  test("stays its service's failure where the service is still there", async () => {
    await whileStale([before]);
    expect(await errorOf(await router.post({ ...chat, model: "moved" }))).toMatchObject({ status: 502, error: { message: expect.stringContaining('"before"') } });
  });
});
