import { describe, expect, test } from "vitest";
import { soon } from "../../test/worker/world.ts";
import type { Failure } from "./outcome.ts";
import type { Source } from "./inflow.ts";
import { events } from "./stream.ts";
import { Watch } from "./watch.ts";

const event = new TextEncoder().encode(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "x".repeat(1_000) }, finish_reason: null }] })}\n\n`);
const last = new TextEncoder().encode('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');

/** An upstream with so many events, each there when it is asked for. */
function upstream(count: number): { source: Source; given: () => number; cancelled: () => boolean; abandoned: () => number; ends: (Failure | undefined)[] } {
  let given = 0;
  let cancelled = false;
  let abandoned = 0;
  const ends: (Failure | undefined)[] = [];
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (given < count) controller.enqueue(event);
        else controller.enqueue(last);
        if (given++ === count) controller.close();
      },
      cancel: () => void (cancelled = true),
    },
    { highWaterMark: 0 },
  );
  const watch = new Watch();
  const source: Source = {
    events: { reader: body.getReader(), receivedBytes: event.byteLength, reattached: 0, watch, first: watch.push(event) },
    abandon: () => void abandoned++,
    over: (failure) => (ends.push(failure), undefined),
    idleMs: 10_000,
    endsAt: Date.now() + 60_000,
    stallMs: 1_000,
  };
  return { source, given: () => given, cancelled: () => cancelled, abandoned: () => abandoned, ends };
}

describe("events(): clients that do not read", () => {
  test("row 27: one that stops reading is dropped, and its upstream with it; nothing piles up meanwhile", async () => {
    const { source, given, cancelled, abandoned, ends } = upstream(Infinity);
    const works: Promise<unknown>[] = [];
    const reader = events(source, (work) => works.push(work)).getReader() as ReadableStreamDefaultReader<Uint8Array>;
    for (let i = 0; i < 10; i++) await reader.read();
    const stalledAt = Date.now();
    await soon("its end", 20_000, () => (ends.length > 0 ? true : undefined));
    expect(Date.now() - stalledAt).toBeGreaterThanOrEqual(900);
    expect(Date.now() - stalledAt).toBeLessThan(2_500);
    expect(ends).toEqual([{ kind: "abandoned" }]);
    expect([cancelled(), abandoned()]).toEqual([true, expect.any(Number)]);
    expect(abandoned()).toBeGreaterThan(0);
    // a few events on their way, not what came up in a second
    expect(given()).toBeLessThan(20);
    await Promise.all(works);
    await expect((async () => { for (;;) if ((await reader.read()).done) return; })()).rejects.toThrow();
  });

  test("row 27: one that does not take the end of its answer is dropped too", async () => {
    const { source, ends } = upstream(0);
    const works: Promise<unknown>[] = [];
    const reader = events(source, (work) => works.push(work)).getReader() as ReadableStreamDefaultReader<Uint8Array>;
    await reader.read();
    const started = Date.now();
    await Promise.all(works);
    expect(Date.now() - started).toBeLessThan(3_500);
    expect(ends).toHaveLength(1);
    await expect((async () => { for (;;) if ((await reader.read()).done) return; })()).rejects.toThrow();
  });

  test("row 27: one that reads slowly gets its answer whole", async () => {
    const { source, ends } = upstream(6);
    const works: Promise<unknown>[] = [];
    const reader = events(source, (work) => works.push(work)).getReader() as ReadableStreamDefaultReader<Uint8Array>;
    let bytes = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (part.value.byteLength > 10) bytes += part.value.byteLength;
      await scheduler.wait(400);
    }
    expect(bytes).toBe(7 * event.byteLength + last.byteLength);
    await Promise.all(works);
    expect(ends).toEqual([undefined]);
  });

  test("row 26: one whose connection the platform gives up without a word is noticed, and its upstream cancelled", async () => {
    const { source, cancelled, ends } = upstream(Infinity);
    const works: Promise<unknown>[] = [];
    const stream = events(source, (work) => works.push(work)) as ReadableStream<Uint8Array>;
    const reader = stream.getReader();
    await reader.read();
    // the timer has to have seen that it was held
    await scheduler.wait(300);
    reader.releaseLock();
    await Promise.all(works);
    expect(ends).toEqual([{ kind: "abandoned" }]);
    expect(cancelled()).toBe(true);
  });

  test("what nobody foresaw ends the answer with one error event, and frees its upstream", async () => {
    const { source, cancelled, ends } = upstream(Infinity);
    source.gaps = () => {
      throw new TypeError("a fault of ours");
    };
    const works: Promise<unknown>[] = [];
    const text = await new Response(events(source, (work) => works.push(work))).text();
    expect(text.startsWith(new TextDecoder().decode(event))).toBe(true);
    expect(text.endsWith("}\n\n")).toBe(true);
    expect(text.match(/"error"/g)).toHaveLength(1);
    expect(text).not.toContain("[DONE]");
    await Promise.all(works);
    expect(ends).toEqual([{ kind: "abandoned" }]);
    expect(cancelled()).toBe(true);
  });
});
