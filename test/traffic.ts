import { Traffic } from "../edge/hub/telemetry.ts";
import { endedAt, Tally } from "../edge/telemetry/tally.ts";
import { toldSchema, type Told } from "../schema/telemetry.ts";

/** What an isolate tells that has counted so. */
export function told(fill: (tally: Tally) => void, more: Partial<Told> = {}): Told {
  const tally = new Tally();
  fill(tally);
  return toldSchema.parse({ isolate: "one", cells: tally.drain(), inFlight: [], breakers: [], ...more });
}

/** A bit of everything that is counted. */
export const everything = told(
  (tally) => {
    const counts = tally.of("chat", "gpus");
    for (const place of Object.values(endedAt)) counts.ended(place);
    for (const outcome of ["answer", "lost"]) counts.attempt(outcome);
    counts.resume("exact");
    for (const one of ["arrivals", "fallbacks", "hedges", "prefixHits", "inputTokens", "outputTokens", "cachedTokens"] as const) counts.add(one, 3);
    for (const ms of [0, 15, 100_000]) counts.took("latency", ms);
    counts.took("ttft", 40);
    counts.took("itl", 9);
    counts.lack("refused");
    counts.lack("spilled");
    tally.of("", "").ended(endedAt.refused);
  },
  { held: [{ service: "chat", count: 3 }], spilled: [{ service: "chat", count: 1 }], inFlight: [{ service: "chat", upstream: "vendor", count: 2 }], breakers: [{ service: "chat", id: "vendor", state: "open" }, { service: "chat", id: "chat.local.1", state: "half_open" }] },
);

/** A Hub that was told everything once. */
export function full(): Traffic {
  const traffic = new Traffic();
  traffic.merge(everything, 1_000);
  traffic.asked("chat.local.1", "chat", 100, 1_000);
  traffic.asked("chat.local.1", "chat", 150, 11_000);
  traffic.decided("chat", "place");
  return traffic;
}
