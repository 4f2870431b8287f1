import { describe, expect, test } from "vitest";
import { lookAfter, readOn, type Reading } from "./reading.ts";

const encoder = new TextEncoder();

/** A body that is written to as the test goes. */
function body() {
  let controller: ReadableStreamDefaultController<Uint8Array>;
  const told = { cancelled: false };
  const stream = new ReadableStream<Uint8Array>({ start: (one) => void (controller = one), cancel: () => void (told.cancelled = true) });
  return { stream, told, say: (text: string) => controller.enqueue(encoder.encode(text)), end: () => controller.close(), fail: () => controller.error(new Error("gone")) };
}

/** An answer whose carrier is silent, and the one that is asked for the rest. */
function silent() {
  const first = body();
  const asked: number[] = [];
  const { promise, resolve } = Promise.withResolvers<ReadableStream<Uint8Array> | undefined>();
  const reading: Reading = { reader: first.stream.getReader(), receivedBytes: 0, reattached: 0, look: () => "silent", reattach: (from) => (asked.push(from), promise) };
  const text = async (): Promise<string | undefined> => {
    let all = "";
    for (let part = await readOn(reading); ; part = await readOn(reading)) {
      if (part === undefined) return undefined;
      if (part.done) return all;
      all += new TextDecoder().decode(part.value);
    }
  };
  return { first, reading, asked, resolve, text };
}

/** What is under way has been read. */
const turn = (): Promise<void> => new Promise((done) => setImmediate(done));

describe("an answer whose carrier does not answer", () => {
  test("goes on with the rest that another one has; the first is given up when that is there, and no sooner", async () => {
    const { first, reading, asked, resolve, text } = silent();
    first.say("one two");
    const all = text();
    await turn();
    lookAfter(reading);
    lookAfter(reading);
    await turn();
    expect([asked, first.told.cancelled]).toEqual([[7], false]);
    const rest = body();
    rest.say(" three");
    rest.end();
    resolve(rest.stream);
    expect(await all).toBe("one two three");
    expect([first.told.cancelled, reading.reattached, reading.receivedBytes]).toEqual([true, 1, 13]);
  });

  test.each(["", " th", " three", " three four"])("has nothing twice when %j came by the first one while the other was asked", async (meanwhile) => {
    const { first, reading, resolve, text } = silent();
    first.say("one two");
    const all = text();
    await turn();
    lookAfter(reading);
    if (meanwhile !== "") first.say(meanwhile);
    await turn();
    const rest = body();
    resolve(rest.stream);
    for (const piece of [" three", " four", " five"]) rest.say(piece);
    rest.end();
    expect(await all).toBe("one two three four five");
    expect(reading.receivedBytes).toBe("one two three four five".length);
  });

  test("waits for the other one when the first breaks off meanwhile: it is not asked twice", async () => {
    const { first, reading, asked, resolve, text } = silent();
    const all = text();
    lookAfter(reading);
    first.fail();
    await turn();
    const rest = body();
    rest.say("all");
    rest.end();
    resolve(rest.stream);
    expect(await all).toBe("all");
    expect(asked).toEqual([0]);
  });

  test("is whole when the first comes back and ends before the other is there, which is let go", async () => {
    const { first, reading, resolve, text } = silent();
    const all = text();
    lookAfter(reading);
    first.say("all");
    first.end();
    expect(await all).toBe("all");
    const rest = body();
    resolve(rest.stream);
    await turn();
    expect(rest.told.cancelled).toBe(true);
  });

  test("has broken off when the other one does not have it", async () => {
    const { reading, resolve, text } = silent();
    const all = text();
    lookAfter(reading);
    resolve(undefined);
    expect(await all).toBeUndefined();
  });
});
