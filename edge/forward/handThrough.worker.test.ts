import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { chat, TestRouter } from "../../test/worker/router.ts";
import { soon } from "../../test/worker/world.ts";
import { remembered } from "./memory.ts";

let router: TestRouter;

beforeAll(async () => {
  router = await TestRouter.start();
});
beforeEach(() => router.cold());
afterAll(() => router.stop());

describe("handThrough(): large answers", () => {
  const piece = new Uint8Array(2 * 1024 * 1024).fill(0x20);
  let cancelled: unknown[] = [];
  let dripped = 0;

  /** An answer of so many pieces, five of them more than is read whole, one each 20 ms, that breaks or stalls after some of them. */
  function vendor(pieces: number, { breaksAfter = Infinity, stallsAfter = Infinity, length = true } = {}): void {
    cancelled = [];
    dripped = 0;
    vi.spyOn(globalThis, "fetch").mockImplementation((async () => {
      const body = new ReadableStream<Uint8Array>({
        pull: async (controller) => {
          if (dripped === stallsAfter) return new Promise(() => undefined);
          if (dripped === breaksAfter) return controller.error(new Error("Network connection lost."));
          await scheduler.wait(20);
          controller.enqueue(piece.slice());
          if (++dripped === pieces) controller.close();
        },
        cancel: (reason) => void cancelled.push(reason),
      });
      return new Response(body, { headers: { "content-type": "application/json", ...(length ? { "content-length": String(pieces * piece.byteLength) } : {}) } });
    }) as unknown as typeof fetch);
  }
  afterEach(() => {
    vi.restoreAllMocks();
  });

  const rented = { ...chat, model: "pair" };
  const inFlight = (): number => remembered(router.services.find(({ name }) => name === "pair") ?? expect.fail()).observed.inFlight("one");
  const landed = (): Promise<true> => soon("the end of its flight", 20_000, () => (inFlight() === 0 ? true : undefined));

  test.each([[true], [false]])("an answer that is handed through is whole, and in flight until its end (length known: %s)", async (length) => {
    vendor(10, { length });
    const response = await router.post(rented);
    expect(inFlight()).toBe(1);
    expect((await response.arrayBuffer()).byteLength).toBe(10 * piece.byteLength);
    await landed();
    await scheduler.wait(2_100);
    expect(cancelled).toEqual([]);
  });

  test.each([[true], [false]])("an answer that goes on for longer than its request has ends with an error (length known: %s)", async (length) => {
    vendor(20, { stallsAfter: 6, length });
    const started = Date.now();
    const response = await router.post(rented);
    await expect(response.arrayBuffer()).rejects.toThrow();
    expect(Date.now() - started).toBeGreaterThanOrEqual(1_950);
    expect(Date.now() - started).toBeLessThan(3_000);
    await landed();
  });

  test.each([[true], [false]])("an answer that breaks off ends with an error, not an EOF (length known: %s)", async (length) => {
    vendor(20, { breaksAfter: 6, length });
    const response = await router.post(rented);
    await expect(response.arrayBuffer()).rejects.toThrow();
    await landed();
  });

  test("a client that leaves in the middle of one ends it, and it is in flight no more", async () => {
    vendor(1_000);
    const response = await router.post(rented);
    expect(inFlight()).toBe(1);
    await response.body?.cancel();
    await landed();
    const then = dripped;
    await scheduler.wait(200);
    expect(dripped - then).toBeLessThan(3);
  });
});
