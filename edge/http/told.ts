import type { DecisionRecord } from "../../schema/decision.ts";
import type { Region } from "../../schema/region.ts";
import type { ToldKind, ToldLine, ToldLines } from "../../schema/told.ts";
import type { RouterEnv } from "../env.ts";
import type { After, JournalEntry } from "../hub/journal.ts";
import { regionsOf } from "../regions.ts";

/** A place in one Hub's list. One that was put away and is back counts anew: its `since` is another. */
interface Place {
  since: number;
  number: number;
}

/** `weur:1700000000000:42,enam:…`; what cannot be read is a beginning. */
function placesOf(after: string): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const [, region = "", since = "", number = ""] of after.matchAll(/([a-z]+):(\d{1,15}):(\d{1,15})/g)) places.set(region, { since: Number(since), number: Number(number) });
  return places;
}

/** One line of a request: who answered, how, and how long it took. No prompt, key or account, and no upstream's words. */
export function requestLine({ at, requestId, status, upstream, ms, attempts, reason }: DecisionRecord, region: Region): ToldLine {
  const tried = attempts.length > 1 ? ` attempts=${attempts.map(({ id, outcome, method }) => `${id}:${outcome}${method === undefined ? "" : `:${method}`}`).join(",")}` : "";
  const broken = reason !== undefined && status < 400 ? " ended=error" : "";
  return { at, text: `${new Date(at).toISOString()} ${requestId} status=${status} upstream=${upstream ?? "none"} ms=${Math.round(ms)}${tried}${broken} region=${region}` };
}

function journalLine({ at, action, text }: JournalEntry, region: Region): ToldLine {
  return { at, text: `${new Date(at).toISOString()} hub ${action}: ${text} region=${region}` };
}

/** What all Hubs remember of a service after a place; one that does not answer is asked from the same place again. */
export async function toldLines(env: RouterEnv, kind: ToldKind, service: string, after: string, tail: number): Promise<ToldLines> {
  const places = placesOf(after);
  const answers = await Promise.allSettled(
    regionsOf(env).map(async (region) => {
      const hub = env.HUB.getByName(region);
      const place = places.get(region);
      let told = (await hub.told(kind, service, place?.number ?? 0, tail)) as (After<DecisionRecord> | After<JournalEntry>) & { since: number };
      // it has begun anew, and what it has is news
      if (place !== undefined && told.since !== place.since && place.number > 0) told = (await hub.told(kind, service, 0, tail)) as typeof told;
      places.set(region, { since: told.since, number: told.next });
      return told.entries.map((entry) => ("requestId" in entry ? requestLine(entry, region) : journalLine(entry, region)));
    }),
  );
  const lines = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : [])).sort((a, b) => a.at - b.at);
  return { lines: lines.slice(-tail), next: [...places].map(([region, { since, number }]) => `${region}:${since}:${number}`).join(",") };
}
