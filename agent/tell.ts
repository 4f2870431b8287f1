import type { RequestHead } from "../schema/frames.ts";
import type { Carried, Wire } from "./carry.ts";
import type { ReplicaLogs } from "./executor.ts";
import { CleanLines } from "./lines.ts";
import type { Recent } from "./recent.ts";
import type { Scrubber } from "./scrub.ts";

export interface TellOptions {
  logs: ReplicaLogs;
  /** Whether a replica of this name is, or lately was, here; others' logs stay closed. */
  knows: (id: string) => boolean;
  isOver: (id: string) => boolean;
  /** The agent's own lines; without them it keeps none. */
  recent?: Recent | undefined;
  scrubber: Scrubber;
}

/**
 * The agent's own paths, as plain text: `GET /logs/<replica>?tail=N&follow=1&raw=1` what a replica printed, `GET /log?service=NAME&tail=N&follow=1`
 * what the agent itself did; anything else is not found. No secret, prompt or terminal escape is in what they say; `raw` lets escapes
 * through.
 */
export function tell(head: RequestHead, wire: Wire, { logs, knows, isOver, recent, scrubber }: TellOptions): Carried {
  const stop = new AbortController();
  let resume: (() => void) | undefined;

  const say = (status: number, text: string): void => {
    wire.head({ status, headers: [["content-type", "text/plain; charset=utf-8"]] });
    wire.body(Buffer.from(text));
    wire.end();
  };
  const write = async (text: string): Promise<void> => {
    if (text === "" || stop.signal.aborted || wire.body(Buffer.from(text))) return;
    await new Promise<void>((resolve) => {
      resume = resolve;
      stop.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  };
  const answer = async (): Promise<void> => {
    const url = new URL(head.path, "http://agent");
    const asked = (name: string): boolean => url.searchParams.get(name) === "1";
    // ids have no characters that a URL would encode
    const replica = /^\/logs\/([^/]+)$/.exec(url.pathname)?.[1];
    const own = url.pathname === "/log" ? recent : undefined;
    if (head.method !== "GET" || (replica === undefined && own === undefined)) return say(404, "the agent has nothing under this path\n");
    if (replica !== undefined && !knows(replica)) return say(404, `this host has no replica ${replica}\n`);
    const lines = Math.min(100_000, Math.max(0, Number.parseInt(url.searchParams.get("tail") ?? "1000", 10) || 0));
    wire.head({ status: 200, headers: [["content-type", "text/plain; charset=utf-8"], ["cache-control", "no-store"]] });
    if (replica !== undefined) {
      const clean = new CleanLines({ scrubber, raw: asked("raw") });
      if (asked("follow")) for await (const chunk of logs.follow(replica, lines, () => isOver(replica), stop.signal)) await write(clean.push(chunk));
      else await write(clean.push(await logs.tail(replica, lines)));
      await write(clean.end());
    } else if (own !== undefined) {
      const service = url.searchParams.get("service") ?? undefined;
      if (asked("follow")) for await (const text of own.follow(lines, service, stop.signal)) await write(text);
      else await write(own.tail(lines, service));
    }
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
