import type { RequestHead } from "../schema/frames.ts";
import type { Carried, Wire } from "./carry.ts";
import type { ReplicaLogs } from "./executor.ts";

export interface TellOptions {
  logs: ReplicaLogs;
  /** Whether a replica of this name is, or lately was, here; others' logs stay closed. */
  knows: (id: string) => boolean;
  isOver: (id: string) => boolean;
}

/** The agent's own paths: `GET /logs/<replica>?tail=N&follow=1` as plain text; anything else is not found. */
export function tell(head: RequestHead, wire: Wire, { logs, knows, isOver }: TellOptions): Carried {
  const stop = new AbortController();
  let resume: (() => void) | undefined;

  const say = (status: number, text: string): void => {
    wire.head({ status, headers: [["content-type", "text/plain; charset=utf-8"]] });
    wire.body(Buffer.from(text));
    wire.end();
  };
  const write = async (chunk: Uint8Array): Promise<void> => {
    if (stop.signal.aborted || wire.body(chunk)) return;
    await new Promise<void>((resolve) => {
      resume = resolve;
      stop.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  };
  const answer = async (): Promise<void> => {
    const url = new URL(head.path, "http://agent");
    // ids have no characters that a URL would encode
    const replica = /^\/logs\/([^/]+)$/.exec(url.pathname)?.[1];
    if (head.method !== "GET" || replica === undefined) return say(404, "the agent has nothing under this path\n");
    if (!knows(replica)) return say(404, `this host has no replica ${replica}\n`);
    const lines = Math.min(100_000, Math.max(0, Number.parseInt(url.searchParams.get("tail") ?? "1000", 10) || 0));
    wire.head({ status: 200, headers: [["content-type", "text/plain; charset=utf-8"], ["cache-control", "no-store"]] });
    if (url.searchParams.get("follow") === "1") {
      for await (const chunk of logs.follow(replica, lines, () => isOver(replica), stop.signal)) await write(chunk);
    } else await write(Buffer.from(await logs.tail(replica, lines)));
    if (!stop.signal.aborted) wire.end();
  };
  answer().catch(() => wire.reset("upstream_lost", "the log could not be read"));

  return {
    body() {},
    end() {},
    resume: () => resume?.(),
    cancel: () => stop.abort(),
  };
}
