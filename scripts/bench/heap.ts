/** What a worker's isolate holds, by its inspector (Chrome DevTools protocol). */
import { setTimeout as sleep } from "node:timers/promises";

/** Before the isolate is entered once more for a question that it has not answered, in ms. */
const againMs = 100;

interface HeapUsage {
  usedSize: number;
  embedderHeapUsedSize: number;
  backingStorageSize: number;
}

/**
 * Used heap in KiB after a full collection: JavaScript objects, the runtime's own objects behind them, and buffers.
 * `enter` must make the isolate run: workerd collects only when a request enters it.
 */
export async function heapKiBOf(inspectorUrl: string, enter: () => Promise<void>): Promise<number> {
  const socket = new WebSocket(inspectorUrl);
  const waiting = new Map<number, (result: unknown) => void>();
  let lastId = 0;
  socket.addEventListener("message", ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown };
    if (id !== undefined) waiting.get(id)?.(result);
  });
  await new Promise<void>((opened, failed) => {
    socket.addEventListener("open", () => opened());
    socket.addEventListener("error", () => failed(new Error(`Cannot open the inspector at ${inspectorUrl}`)));
  });
  function call(method: string): Promise<unknown> {
    const id = ++lastId;
    return new Promise((answered) => {
      waiting.set(id, answered);
      socket.send(JSON.stringify({ id, method }));
    });
  }
  try {
    await call("HeapProfiler.enable");
    await entering(call("HeapProfiler.collectGarbage"), enter);
    const { usedSize, embedderHeapUsedSize, backingStorageSize } = (await entering(call("Runtime.getHeapUsage"), enter)) as HeapUsage;
    return (usedSize + embedderHeapUsedSize + backingStorageSize) / 1_024;
  } finally {
    socket.close();
  }
}

/** What an inspector answers once the isolate runs: a request may have left it before the question came. */
async function entering<T>(answer: Promise<T>, enter: () => Promise<void>): Promise<T> {
  for (;;) {
    await enter();
    const heard = await Promise.race([answer.then((value) => ({ value })), sleep(againMs)]);
    if (heard !== undefined) return heard.value;
  }
}
