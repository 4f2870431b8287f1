import type { Random } from "../../schema/clock.ts";
import { arrivals, day, flash, steady, type Demand } from "../../test/sim/demand.ts";
import { simulate, type ServiceFacts } from "../../test/sim/simulate.ts";
import { quantile } from "./quantile.ts";
import type { Section } from "./scale-section.ts";
import { figure, table } from "./table.ts";
import type { Target } from "./targets.ts";

const hourMs = 3_600_000;
/** The first replicas start meanwhile: it counts for nothing. */
const warmUpMs = 1_200_000;
/** A request that gets its first token within it was served well: a chat's user waits no longer. */
export const ttftMsSlo = 2_000;
const maxReplicas = 16;

/**
 * What one replica of the simulated engine serves well: of ever more requests, Poisson's, to one replica, the most in steps of 1/4 a second
 * of which 99 % get their first token in time; and how many are in flight then. The other scalers are told nothing else.
 */
const each = { qps: 1.25, inFlight: 14 };
/** Knative scales at 70 % of what it is told (facts/routing-and-scaling.md §4). */
const knativeTarget = each.inFlight / 0.7;

const policies: Record<string, ServiceFacts["policy"]> = {
  adaptive: { autoscaler: "adaptive", min: 1, max: maxReplicas, targetQps: each.qps },
  request_rate: { autoscaler: "request_rate", min: 1, max: maxReplicas, targetQps: each.qps },
  concurrency: { autoscaler: "concurrency", min: 1, max: maxReplicas, targetConcurrency: knativeTarget },
};
const others = ["request_rate", "concurrency"];

interface Pattern {
  text: string;
  hours: number;
  /** So many times as many seeds as are asked for: of gamma's arrivals one seed differs from another by more than policies do. */
  times: number;
  demand: (random: Random, untilMs: number) => Demand;
}

/** Day and night, at a mean of so many requests/s; and the gamma patterns. */
const dayMean = 4;
const gammaMean = 10;

const patterns: Record<string, Pattern> = {
  "CV 1": { text: `Poisson, ${gammaMean}/s`, hours: 2, times: 1, demand: (random, untilMs) => arrivals({ rate: steady(gammaMean), cv: 1, untilMs, random }) },
  "CV 4": { text: `gamma, CV 4, ${gammaMean}/s`, hours: 2, times: 3, demand: (random, untilMs) => arrivals({ rate: steady(gammaMean), cv: 4, untilMs, random }) },
  "CV 13": { text: `gamma, CV 13, ${gammaMean}/s`, hours: 2, times: 9, demand: (random, untilMs) => arrivals({ rate: steady(gammaMean), cv: 13, untilMs, random }) },
  day: { text: `a day, ${dayMean}/s in the mean, from a fifth to nine fifths of it`, hours: 24, times: 1, demand: (random, untilMs) => arrivals({ rate: day(dayMean, 0.8, untilMs), cv: 1, untilMs, random }) },
  flash: { text: "a flash crowd: 1/s, ten times as much for 20 minutes", hours: 2, times: 1, demand: (random, untilMs) => arrivals({ rate: flash(1, 10, untilMs / 2, untilMs / 2 + 1_200_000), cv: 1, untilMs, random }) },
};

interface Result {
  policy: string;
  /** 0..1. */
  attained: number;
  gpuHours: number;
  ttftP95Ms: number;
  failed: number;
}

/** One run: what came of it after the warm-up. */
function run(policy: string, pattern: Pattern, seed: number, hours: number): Result {
  const untilMs = warmUpMs + hours * hourMs;
  const { outcomes: { chat }, moments } = simulate({
    seed, untilMs,
    services: [{ name: "chat", policy: policies[policy] as ServiceFacts["policy"] }],
    hosts: Array.from({ length: maxReplicas }, (_, i) => ({ id: `host-${i}`, region: "weur" as const, gpus: 1 })),
    demand: { chat: (random) => pattern.demand(random, untilMs) },
  });
  if (chat === undefined) throw new Error("Cannot judge a run without its service");
  const counted = moments.filter(({ at }) => at > warmUpMs);
  const ttfts = chat.ttftMs.filter((_, i) => (chat.at[i] as number) > warmUpMs);
  return {
    policy, attained: chat.attainment(ttftMsSlo, warmUpMs), ttftP95Ms: quantile(ttfts, 0.95), failed: chat.failed + chat.refused + chat.cutByStop,
    gpuHours: (counted.reduce((sum, { alive }) => sum + alive, 0) / counted.length) * hours,
  };
}

function meanOf(results: readonly Result[]): Result {
  const mean = (of: (result: Result) => number): number => results.reduce((sum, result) => sum + of(result), 0) / results.length;
  return { policy: results[0]?.policy ?? "", attained: mean((one) => one.attained), gpuHours: mean((one) => one.gpuHours), ttftP95Ms: mean((one) => one.ttftP95Ms), failed: results.reduce((sum, { failed }) => sum + failed, 0) };
}

/** Hours that differ by less are alike: a replica that starts a minute sooner. Of attainment no difference is let pass. */
const hoursAlike = 0.01;

/** Bursty demand: SLO attainment and GPU-hours of our default against SkyServe's and Knative's autoscalers, each told the same of a replica. */
export const demandSection: Section = ({ seeds, quick, say }) => {
  const targets: Target[] = [];
  const figures: Record<string, Result[]> = {};
  const parts: string[] = [];
  for (const [name, pattern] of Object.entries(patterns)) {
    const hours = quick ? Math.min(pattern.hours, name === "day" ? 6 : 1) : pattern.hours;
    const all = quick ? seeds : Array.from({ length: seeds.length * pattern.times }, (_, i) => (seeds[0] ?? 1) + i);
    const results = Object.keys(policies).map((policy) => meanOf(all.map((seed, i) => {
      say(`${name}: ${policy}, ${i + 1} of ${all.length}`);
      return run(policy, pattern, seed, hours);
    })));
    figures[name] = results;
    parts.push(`${name}: ${pattern.text}, ${hours} h, seeds ${all[0]} to ${all.at(-1)}\n${table(["policy", `TTFT <= ${ttftMsSlo / 1000} s`, "GPU-hours", "TTFT p95 s", "failed"], results.map(({ policy, attained, gpuHours, ttftP95Ms, failed }) => [policy, figure(attained * 100, 2, { unit: " %" }), figure(gpuHours, 2), figure(ttftP95Ms / 1000, 2), String(failed)]))}`);
    const own = results.find(({ policy }) => policy === "adaptive");
    if (own === undefined) continue;
    const rivals = results.filter(({ policy }) => others.includes(policy));
    const attained = Math.max(...rivals.map((one) => one.attained));
    const gpuHours = Math.min(...rivals.map((one) => one.gpuHours));
    targets.push({ text: `SLO attainment, ${name}, at least the better other's ${figure(attained * 100, 2)} %`, measured: own.attained * 100, unit: " %", met: own.attained * 100 >= attained * 100 });
    targets.push({ text: `GPU-hours, ${name}, at most the better other's ${figure(gpuHours, 2)}`, measured: own.gpuHours, unit: "", met: own.gpuHours <= gpuHours * (1 + hoursAlike) });
    targets.push({ text: `no request fails, ${name}`, measured: own.failed, unit: "", met: own.failed === 0 });
  }
  return { text: parts.join("\n\n"), targets, figures };
};
