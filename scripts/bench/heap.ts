/** What a worker's isolate holds, by its inspector (Chrome DevTools protocol). */

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
    const collected = call("HeapProfiler.collectGarbage");
    await enter();
    await collected;
    const { usedSize, embedderHeapUsedSize, backingStorageSize } = (await call("Runtime.getHeapUsage")) as HeapUsage;
    return (usedSize + embedderHeapUsedSize + backingStorageSize) / 1_024;
  } finally {
    socket.close();
  }
}
