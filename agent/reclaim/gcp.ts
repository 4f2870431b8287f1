import { trouble, type Answer, type Cloud, type Notice, type Question, type Watch } from "./notice.ts";
import type { Now } from "../../schema/clock.ts";

const root = "/computeMetadata/v1/instance";
const headers = { "metadata-flavor": "Google" };

/** An answer is held for so long when there is no news (`timeout_sec`). */
const holdMs = 60_000;
/** Between two questions at least, should an answer come at once that should have been held. */
const leastMs = 1_000;
/** From the notice to the machine's end (facts/engines.md §11). */
const leadMs = 30_000;

/** Only the metadata server says so; what answers in its place (a proxy, a captive portal) does not. */
function isGoogle(answer: Answer): boolean {
  return answer.header("metadata-flavor") === "Google";
}

export function preempted(value: string, now: Now): Notice | null | undefined {
  if (value === "FALSE") return null;
  return value === "TRUE" ? { source: "gcp", at: now + leadMs, reason: "Google Cloud preempts this instance" } : undefined;
}

/** A machine with GPUs cannot migrate: it is told to end, an hour ahead. One that migrates goes on. */
export function maintenance(value: string): Notice | null | undefined {
  if (value === "NONE" || value === "MIGRATE_ON_HOST_MAINTENANCE") return null;
  return value === "TERMINATE_ON_HOST_MAINTENANCE" ? { source: "gcp", reason: "Google Cloud ends this instance for maintenance" } : undefined;
}

/** A value that is asked for once, and then whenever it has changed: `last_etag` names what is known, and the answer waits for another. */
function held(name: string, read: (value: string, now: Now) => Notice | null | undefined): Watch {
  const path = `${root}/${name}`;
  const first: Question = { method: "GET", path, headers, timeoutMs: 5_000 };
  return {
    name,
    first,
    read(answer, asked, now) {
      const value = answer?.status === 200 && isGoogle(answer) ? answer.body.trim() : "";
      const notice = read(value, now);
      // the etag that is known may be stale by now: begin anew, and forget nothing that was told
      if (answer === undefined || notice === undefined) return trouble({ ...first, ...(asked.known === undefined ? {} : { known: asked.known }) }, answer);
      const etag = /^[\w-]{1,200}$/.exec(answer.header("etag") ?? "")?.[0];
      const wait = `?wait_for_change=true&last_etag=${etag}&timeout_sec=${holdMs / 1000}`;
      const next = etag === undefined ? first : { ...first, path: path + wait, timeoutMs: holdMs + 10_000 };
      // told once: the end is counted from when it was first heard
      const isNews = value !== asked.known;
      return { next: { ...next, known: value }, afterMs: etag === undefined ? 5 * leastMs : isNews ? 0 : leastMs, ...(isNews || notice === null ? { notice } : {}) };
    },
  };
}

/** Compute Engine's metadata server, by its address: no name to be looked up (cloud.google.com: "Preemptible VM instances", "About VM metadata"). */
export const gcp: Cloud = {
  name: "gcp",
  base: "http://169.254.169.254",
  probe: { method: "GET", path: `${root}/preempted`, headers, timeoutMs: 1_000 },
  is: (answer) => answer.status === 200 && isGoogle(answer),
  watches: [held("preempted", preempted), held("maintenance-event", maintenance)],
};
