import type { Edge } from "./edge.ts";
import type { ToldKind } from "../schema/told.ts";

/** Between two questions of a reader that follows: what isolates tell comes once a second too. */
const everyMs = 1_000;
/** Lines of one answer at most, after the first. */
const linesMax = 2_000;
/** More than a Hub remembers. */
const askedMax = 10_000;

export interface ToldLogOptions {
  edge: Edge;
  kind: ToldKind;
  service: string;
  tail: number;
  follow: boolean;
  signal: AbortSignal;
  wait?: (ms: number) => Promise<void>;
}

/** What Hubs remember of a service, as a log: they are asked again and again while it is followed. @throws Error in words when they cannot be asked at first */
export async function toldLog({ edge, kind, service, tail, follow, signal, wait = pause }: ToldLogOptions): Promise<ReadableStream<Uint8Array>> {
  const encoder = new TextEncoder();
  let { lines, next } = await edge.told(kind, service, "", Math.min(tail, askedMax));
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      // a stream asks once for each time it was given something
      for (;;) {
        if (lines.length > 0) {
          controller.enqueue(encoder.encode(lines.map(({ text }) => `${text}\n`).join("")));
          lines = [];
          return;
        }
        if (!follow || signal.aborted) return controller.close();
        await wait(everyMs);
        // a hub that is away for a while has what came meanwhile when it is back, or says so by what it has not
        const news = signal.aborted ? undefined : await edge.told(kind, service, next, linesMax).catch(() => undefined);
        if (news !== undefined) ({ lines, next } = news);
      }
    },
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
