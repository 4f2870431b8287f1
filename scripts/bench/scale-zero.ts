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
const sliceMs = 5_000;
/** Slices that are shown: from half a minute before the first replica is ready to a minute after. */
const shown = { from: -6, until: 12 };
/** A switch would leave nobody at the provider within so long. */
const switchMs = 10_000;

interface Slice {
  /** From the first replica's readiness on, in s. */
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
  const switching: number[] = [];
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
      const slice = Math.floor((at - firstReadyAt) / sliceMs);
      if (at >= firstReadyAt && at < firstReadyAt + switchMs) switching.push(provided ? 1 : 0);
      const known = slices.get(slice) ?? { provided: 0, ttfts: [] };
      known.ttfts.push(ttftMs);
      if (provided) known.provided++;
      slices.set(slice, known);
    }
  }
  const figures: Slice[] = [...slices].sort(([a], [b]) => a - b).map(([slice, { provided, ttfts }]) => ({ atS: (slice * sliceMs) / 1000, requests: ttfts.length, provided: provided / ttfts.length, ttftP95Ms: quantile(ttfts, 0.95) }));
  const addedMs = quantile(cold, 0.95) - provider.ttftMs.p95;
  const stillProvided = switching.reduce((sum, one) => sum + one, 0) / switching.length;
  return {
    text: `from zero: ${perS}/s at once, a cold start of ${coldStartMs.p50 / 1000} s, a provider as cover; the first replica was ready after ${figure(last / 1000, 0)} s\n${table(["s from then", "requests", "by the provider", "TTFT p95 ms"], figures.filter(({ atS }) => atS >= (shown.from * sliceMs) / 1000 && atS < (shown.until * sliceMs) / 1000).map(({ atS, requests, provided, ttftP95Ms }) => [String(atS), String(requests), figure(provided * 100, 0, { unit: " %" }), figure(ttftP95Ms, 0)]))}`,
    targets: [
      { text: "no request fails, from zero", measured: failed, unit: "", met: failed === 0 },
      { text: "p95 of added TTFT while cold <= 300 ms", measured: addedMs, unit: " ms", met: addedMs <= 300 },
      { text: "p95 of TTFT while moving over <= 2 s", measured: quantile(moving, 0.95), unit: " ms", met: quantile(moving, 0.95) <= 2_000 },
      { text: "no switch: in the first 10 s with a replica the provider still answers >= 25 %", measured: stillProvided * 100, unit: " %", met: stillProvided >= 0.25 },
    ],
    figures,
  };
};
