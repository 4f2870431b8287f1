import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";

/** Waits, at least until the event loop has turned once. Rejects with the signal's abort. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await wait(ms, undefined, { signal });
  else await turn(undefined, { signal });
}

/** Resolves when the signal aborts. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
