import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { DecisionRecord } from "../schema/decision.ts";
import { chat, errorOf, TestRouter } from "../test/worker/router.ts";
import { soon, world } from "../test/worker/world.ts";

let router: TestRouter;

beforeAll(async () => {
  router = await TestRouter.start();
});
beforeEach(() => router.cold());
afterAll(() => router.stop());

describe("router: what is explained", () => {
  /** What the Hub was told of a request. */
  function recalled(response: Response): Promise<DecisionRecord> {
    return soon("the decision", 20_000, async () => (await world.HUB.getByName("local").explain(response.headers.get("x-request-id") ?? "")).decision);
  }

  test("a request that finds no candidate, with the reason that its caller was told", async () => {
    const response = await router.post({ ...chat, model: "empty" });
    const { error: told } = await errorOf(response);
    expect(await recalled(response)).toMatchObject({ service: "empty", model: "empty", account: "default", status: 503, reason: told.message, candidates: [], attempts: [] });
  });

  test("a request for which all upstreams are at their limit", async () => {
    vi.spyOn(globalThis, "fetch").mockImplementation((async () => Response.json({ error: { message: "slow down", type: "requests", code: "rate_limit_exceeded", param: null } }, { status: 429, headers: { "retry-after": "30" } })) as unknown as typeof fetch);
    expect((await router.post({ ...chat, model: "pair" })).status).toBe(429);
    const response = await router.post({ ...chat, model: "pair" });
    vi.restoreAllMocks();
    const { error: told } = await errorOf(response);
    expect(await recalled(response)).toMatchObject({ status: 429, reason: told.message, attempts: [], filtered: { one: expect.stringContaining("limit"), two: expect.stringContaining("limit") } });
  });

  test("a request to a service that is no LLM", async () => {
    const [response] = await Promise.all([router.ask("/s/web/page"), router.answerWith({ status: 200, headers: [["content-type", "text/plain"]] }, "hello")]);
    expect(await response.text()).toBe("hello");
    expect(await recalled(response)).toMatchObject({ service: "web", model: "web", account: "default", status: 200, attempts: [{ outcome: "answer" }], upstream: expect.stringMatching(/^web\./) });
  });

  test("a request to a service that is no LLM and has nobody", async () => {
    const response = await router.ask("/s/empty/page");
    expect(response.status).toBe(503);
    expect(await recalled(response)).toMatchObject({ service: "empty", status: 503, reason: expect.stringContaining("empty"), attempts: [] });
  });
});
