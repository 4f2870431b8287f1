import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FairleadError } from "../../schema/errors.ts";
import { comment, errorEvent, EventBoundary, isEventStream, orSilence, silenceMs } from "./silence.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Where a stream of these chunks stands at its end. */
function reached(...chunks: Uint8Array[]): boolean {
  const boundary = new EventBoundary();
  for (const chunk of chunks) boundary.push(chunk);
  return boundary.reached;
}

describe("EventBoundary", () => {
  test.each(["\n\n", "data: {}\n\n", "data: {}\r\n\r\n", ": \n\n", "\r\n\r\n"])("%j ends between two events", (text) => {
    expect(reached(bytes("data: x"), bytes(text))).toBe(true);
  });

  test.each(["data: {}", "data: {}\n", "data: {}\r\n", "data: {}\r", "\n", "\r\n", "data: \n\nx", "data: {}\n\r\nd", "\r\r", " \n"])("%j does not", (text) => {
    expect(reached(bytes("data: x"), bytes(text))).toBe(false);
  });

  test("a comment may follow a comment", () => {
    expect(reached(comment)).toBe(true);
    expect(reached(comment, comment)).toBe(true);
  });

  test("a stream begins between two events, and line ends count over the seam of two chunks", () => {
    expect(reached()).toBe(true);
    expect(reached(bytes("data: x\n"), bytes("\n"))).toBe(true);
    expect(reached(bytes("data: x\r\n\r"), bytes("\n"))).toBe(true);
    expect(reached(bytes("data: x\n"), bytes("y\n"))).toBe(false);
  });
});

test.each([
  ["text/event-stream", true], ["text/event-stream; charset=utf-8", true], ["Text/Event-Stream", true], ["application/json", false], ["application/x-text/event-stream", false], ["", false], [null, false], [undefined, false],
])("isEventStream() of %j is %j", (type, is) => {
  expect(isEventStream(type)).toBe(is);
});

test("an error event is one data line of OpenAI's envelope, whatever is in its message", () => {
  const text = new TextDecoder().decode(errorEvent(new FairleadError("provider_error", "Cannot\n\ndata: [DONE]\n\n")));
  expect(text).toMatch(/^data: [^\n]+\n\n$/);
  expect(JSON.parse(text.slice(6))).toEqual({ error: { message: "Cannot\n\ndata: [DONE]\n\n", type: "server_error", param: null, code: "provider_error" } });
});

describe("orSilence()", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("is the work's value when it comes in time, and leaves no timer behind", async () => {
    expect(await orSilence(Promise.resolve(1))).toEqual({ value: 1 });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("is silent after half a second, and the same work may be asked again", async () => {
    const work = Promise.withResolvers<string>();
    const first = orSilence(work.promise);
    await vi.advanceTimersByTimeAsync(silenceMs - 1);
    expect(vi.getTimerCount()).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(await first).toBe("silent");
    const second = orSilence(work.promise);
    work.resolve("late");
    expect(await second).toEqual({ value: "late" });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("a failure of the work is its own, and leaves no timer behind", async () => {
    await expect(orSilence(Promise.reject(new Error("lost")))).rejects.toThrow("lost");
    expect(vi.getTimerCount()).toBe(0);
  });

  test("silence is short enough to notice within a second that a client has gone", () => {
    expect(silenceMs).toBeLessThanOrEqual(500);
  });
});
