import { simulate } from "../../test/sim/simulate.ts";
import { arrivals, stairs } from "../../test/sim/demand.ts";
import { quantile } from "./quantile.ts";
import type { Section } from "./scale-section.ts";
import { figure, table } from "./table.ts";

/** Nothing is asked until then; then all at once. */
const beginsMs = 300_000;
const perS = 4;
const coldStartMs = { p50: 90_000, p95: 90_000 };
/** As a vendor of tokens answers: the first one after 400 ms, one in twenty after 900. */
const provider = { ttftMs: { p50: 400, p95: 900 }, tpotMs: 20 };
/** The move-over is over so long after the first replica. */
const endsMs = 1_200_000;
const sliceMs = 15_000;

interface Slice {
  /** From the first request on, in s. */
  atS: number;
  requests: number;
  /** Share that providers answered, 0..1. */
  provided: number;
  ttftP95Ms: number;
}

/** From zero replicas, with a cold start of 90 s and a provider as cover. */
export const zeroSection: Section = ({ seeds }) => {
  const cold: number[] = [];
  const moving: number[] = [];
  const own: number[] = [];
  const slices = new Map<number, { provided: number; ttfts: number[] }>();
  let failed = 0;
  let last = Number.NaN;
  for (const seed of seeds) {
    const untilMs = beginsMs + endsMs;
    const { outcomes: { chat }, moments } = simulate({
      seed, untilMs,
      services: [{ name: "chat", policy: { autoscaler: "adaptive", min: 0, max: 8, targetQps: 1.25 }, coldStartMs, provider }],
      hosts: Array.from({ length: 8 }, (_, i) => ({ id: `host-${i}`, region: "weur" as const, gpus: 1 })),
      demand: { chat: (random) => arrivals({ rate: stairs([beginsMs, perS]), cv: 1, untilMs: untilMs - 120_000, random }) },
    });
    if (chat === undefined) throw new Error("Cannot judge a run without its service");
    failed += chat.failed + chat.refused + chat.cutByStop;
    const firstReadyAt = moments.find(({ at, ready }) => at > beginsMs && ready > 0)?.at ?? Number.POSITIVE_INFINITY;
    last = firstReadyAt - beginsMs;
    for (const [i, at] of chat.at.entries()) {
      const ttftMs = chat.ttftMs[i] as number;
      const provided = chat.provided[i] === 1;
      if (at <= firstReadyAt) cold.push(ttftMs);
      else if (at <= firstReadyAt + 300_000) moving.push(ttftMs);
      if (!provided) own.push(ttftMs);
      const slice = Math.floor((at - beginsMs) / sliceMs);
      const known = slices.get(slice) ?? { provided: 0, ttfts: [] };
      known.ttfts.push(ttftMs);
      if (provided) known.provided++;
      slices.set(slice, known);
    }
  }
  const figures: Slice[] = [...slices].sort(([a], [b]) => a - b).map(([slice, { provided, ttfts }]) => ({ atS: (slice * sliceMs) / 1000, requests: ttfts.length, provided: provided / ttfts.length, ttftP95Ms: quantile(ttfts, 0.95) }));
  const addedMs = quantile(cold, 0.95) - provider.ttftMs.p95;
  // from the slice in which replicas first answer to the one in which they answer three of four
  const from = figures.findIndex((slice) => slice.provided < 1);
  const until = figures.findIndex((slice, i) => i >= from && slice.provided < 0.25);
  const overS = from < 0 || until < 0 ? Number.NaN : ((until - from) * sliceMs) / 1000;
  return {
    text: `from zero: ${perS}/s at once, a cold start of ${coldStartMs.p50 / 1000} s, a provider as cover; the first replica was ready after ${figure(last / 1000, 0)} s\n${table(["after s", "requests", "by the provider", "TTFT p95 ms"], figures.slice(0, 24).map(({ atS, requests, provided, ttftP95Ms }) => [String(atS), String(requests), figure(provided * 100, 0, { unit: " %" }), figure(ttftP95Ms, 0)]))}`,
    targets: [
      { text: "no request fails, from zero", measured: failed, unit: "", met: failed === 0 },
      { text: "p95 of added TTFT while cold <= 300 ms", measured: addedMs, unit: " ms", met: addedMs <= 300 },
      { text: "p95 of TTFT while moving over <= 2 s", measured: quantile(moving, 0.95), unit: " ms", met: quantile(moving, 0.95) <= 2_000 },
      { text: "the move-over is gradual: from the first answers of replicas to three of four >= 30 s", measured: overS, unit: " s", met: overS >= 30 },
    ],
    figures,
  };
};
