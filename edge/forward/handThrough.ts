import type { FairleadError } from "../../schema/errors.ts";
import type { Answer } from "./attempt.ts";
import type { Failure } from "./outcome.ts";

export interface HandThrough {
  answer: Answer;
  /** ms since the epoch. */
  endsAt: number;
  /** To be called once, when the answer is over. */
  over: (failure?: Failure) => Promise<FairleadError | undefined> | undefined;
  waitUntil: (work: Promise<unknown>) => void;
}

/**
 * An answer too large to be read whole, from its upstream to the client, without a copy in JavaScript. It ends with its request's
 * time, and with an error whenever it is not whole.
 */
export function handThrough(body: ReadableStream<Uint8Array>, { answer, endsAt, over, waitUntil }: HandThrough): ReadableStream<Uint8Array> {
  const { headers } = answer.response;
  const length = headers.has("content-encoding") ? Number.NaN : Number(headers.get("content-length") ?? Number.NaN);
  // with its length known, the client is told it, and a body that is shorter is an error
  const { readable, writable } = Number.isNaN(length) ? new IdentityTransformStream() : new FixedLengthStream(length);
  const late = new AbortController();
  const end = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    late.abort(new Error("its time is over"));
    answer.abandon();
    // a pipe that waits for a silent upstream does not look at its signal
    end.reject(new Error("its time is over"));
  }, Math.max(0, endsAt - Date.now()));
  const pass = async (): Promise<void> => {
    if (answer.begun !== undefined) {
      const writer = writable.getWriter();
      await writer.write(answer.begun);
      writer.releaseLock();
    }
    await body.pipeTo(writable, { signal: late.signal, preventCancel: true });
  };
  const work = async (): Promise<void> => {
    let failure: Failure | undefined;
    try {
      await Promise.race([pass(), end.promise]);
    } catch {
      // a body that can still be read was not what failed: the client has gone, or the time is over
      failure = !late.signal.aborted && (await isBroken(body)) ? { kind: "lost", why: "the answer broke off" } : { kind: "abandoned" };
      answer.abandon();
      body.cancel().catch(() => undefined);
    }
    clearTimeout(timer);
    await over(failure);
  };
  waitUntil(work());
  return readable;
}

/** Whether a body that nobody reads any more has an error. */
async function isBroken(body: ReadableStream<Uint8Array>): Promise<boolean> {
  const reader = body.getReader();
  const broken = await Promise.race([reader.read().then(() => false, () => true), scheduler.wait(0).then(() => false)]);
  reader.releaseLock();
  return broken;
}
