import type { Look, Reattach } from "./outcome.ts";

/** A body on its way here. */
export interface Reading {
  reader: ReadableStreamDefaultReader<Uint8Array>;
  receivedBytes: number;
  reattach?: Reattach | undefined;
  /** How often it has gone on through another carrier. */
  reattached: number;
  look?: Look | undefined;
  /** Its carrier does not answer, and another one is asked for the rest. */
  moving?: Promise<void> | undefined;
  /** The rest of it from a byte on, by another carrier. */
  rest?: { body: ReadableStream<Uint8Array>; from: number } | undefined;
  /** Nothing more comes of it: it has ended, or nobody has the rest. */
  over?: "ended" | "lost";
}

/** Goes on with the rest that another carrier has. @returns what of it has not been read yet */
async function goOn(reading: Reading, { body, from }: NonNullable<Reading["rest"]>): Promise<ReadableStreamReadResult<Uint8Array> | undefined> {
  reading.rest = undefined;
  reading.reader = body.getReader();
  reading.reattached++;
  // what came by the first one while the other was asked
  for (let skip = reading.receivedBytes - from; skip > 0; ) {
    const part = await reading.reader.read().catch(() => undefined);
    if (part === undefined || part.done) return part;
    if (part.value.byteLength > skip) {
      reading.receivedBytes += part.value.byteLength - skip;
      return { done: false, value: part.value.subarray(skip) };
    }
    skip -= part.value.byteLength;
  }
  return undefined;
}

/** The next of a body, through another carrier where this one is lost; undefined when it has broken off. */
export async function readOn(reading: Reading): Promise<ReadableStreamReadResult<Uint8Array> | undefined> {
  const part = await reading.reader.read().catch(() => undefined);
  if (part === undefined || part.done) return readBeyond(reading, part !== undefined);
  reading.receivedBytes += part.value.byteLength;
  return part;
}

/** The same after a read that gave nothing. @param ended it came to an end, which need not be the body's; it failed otherwise */
export async function readBeyond(reading: Reading, ended: boolean): Promise<ReadableStreamReadResult<Uint8Array> | undefined> {
  if (!ended) {
    // its carrier is lost
    await reading.moving;
  } else if (reading.over !== "lost" && reading.rest === undefined) {
    reading.over = "ended";
    return { done: true, value: undefined };
  }
  let { rest } = reading;
  if (reading.over === "lost") return undefined;
  if (rest === undefined) {
    const from = reading.receivedBytes;
    const body = await reading.reattach?.(from);
    if (body === undefined) return undefined;
    rest = { body, from };
  }
  return (await goOn(reading, rest)) ?? readOn(reading);
}

/**
 * Looks after what carries a body of which nothing comes. When that does not answer, another carrier is asked for the rest, and only what
 * has come of that ends the wait: the first may be back before it, and to give it up sooner would end the answer.
 *
 * @returns when to look again, in ms; undefined when there is nothing to look at
 */
export function lookAfter(reading: Reading): number | undefined {
  const seen = reading.look?.(reading.receivedBytes);
  if (seen !== "silent") return seen;
  if (reading.moving !== undefined) return undefined;
  reading.moving = move(reading);
  return undefined;
}

async function move(reading: Reading): Promise<void> {
  const from = reading.receivedBytes;
  const body = await reading.reattach?.(from);
  reading.moving = undefined;
  if (reading.over !== undefined) return void body?.cancel().catch(() => undefined);
  if (body === undefined) reading.over = "lost";
  else reading.rest = { body, from };
  // it wakes whoever waits for it: its answer is the other one's by now
  reading.reader.cancel().catch(() => undefined);
}
