import { expect, test } from "vitest";
import { routeServiceSchema } from "../../schema/bundle.ts";
import { FairleadError } from "../../schema/errors.ts";
import { attemptOutcomes, bucketOf, digestBoundsMs, endings, lacks, layout, resumeWays, tallies, versionsToldMax } from "../../schema/telemetry.ts";
import type { Decision } from "../route/route.ts";
import { Journey } from "./journey.ts";
import { Tally } from "./tally.ts";
import { VersionCounts } from "./versions.ts";

const service = routeServiceSchema.parse({
  name: "chat", version: 1, models: ["chat"], listed: true, createdAt: 0, selfHosted: true, timeouts: { ttftMs: 1, totalMs: 1 }, bodyBytesMax: 1, replicas: { name: "gpus" },
  providers: [{ name: "vendor", endpoint: "https://a.example/v1", dialect: "openai" }],
});
const decision: Decision = { candidates: [], filtered: {}, scores: [{ id: "chat.local.2", total: 1, parts: { prefix: 0 } }, { id: "chat.local.1", total: 0.9, parts: { prefix: 0.5 } }], strategy: "prefix_affinity", saturated: false };
const replica = { id: "chat.local.1", upstream: "gpus" };
const vendor = { id: "vendor", upstream: "vendor" };

/** What was counted, in words: only what is more than 0. */
function told(tally: Tally): Record<string, Record<string, number>> {
  const out: Record<string, Record<string, number>> = {};
  for (const { upstream, counts } of tally.drain()) {
    const own: Record<string, number> = (out[upstream] = {});
    const list = (from: number, names: readonly string[]): void => names.forEach((name, i) => ((counts[from + i] ?? 0) > 0 ? (own[name] = counts[from + i] ?? 0) : undefined));
    list(layout.endings, endings);
    list(layout.attempts, attemptOutcomes);
    list(layout.resumes, resumeWays);
    list(layout.tallies, tallies);
    list(layout.lacks, lacks);
    for (const digest of ["latency", "ttft"] as const) if ((counts[layout[digest]] ?? 0) > 0) own[digest] = counts[layout[digest]] ?? 0;
  }
  return out;
}

test("an answer that is here whole is counted with its tokens, by who gave it", () => {
  const tally = new Tally();
  const seen = new Journey(tally, service, 1_000);
  seen.began({ attempts: [{ id: "vendor", outcome: "throttled", ms: 5 }, { id: "chat.local.1", outcome: "answer", ms: 9 }], by: replica, status: 200, fallback: true }, decision, false, 1_200);
  seen.close({ whole: '{"usage":{"prompt_tokens":5,"completion_tokens":2}}' });
  seen.close();
  expect(told(tally)).toEqual({
    "": { arrivals: 1 },
    vendor: { throttled: 1 },
    gpus: { "2xx": 1, answer: 1, fallbacks: 1, prefixHits: 1, inputTokens: 5, outputTokens: 2, latency: 200 },
  });
});

test("a request that nobody answered has no upstream, its attempts have", () => {
  const tally = new Tally();
  new Journey(tally, service, 0).refused([{ id: "chat.local.9", outcome: "unsent", ms: 1 }, { id: "vendor", outcome: "timeout", ms: 9 }], 504, false, 50);
  new Journey(tally, service, 0).refused([], 502, true, 60);
  expect(told(tally)).toEqual({ "": { arrivals: 2, "5xx": 1, left: 1, latency: 110 }, gpus: { unsent: 1 }, vendor: { timeout: 1 } });
});

test.each<[string, (seen: Journey) => void, string, Record<string, number>]>([
  ["ends well", (seen) => seen.over(undefined, 900), "gpus", { "2xx": 1, latency: 900 }],
  ["is left by its client", (seen) => seen.over({ kind: "abandoned" }, 400), "gpus", { left: 1, latency: 400 }],
  ["is lost, and nothing goes on", (seen) => (seen.over({ kind: "lost", why: "" }, 400), seen.failed(450)), "gpus", { broken: 1, latency: 450 }],
  ["is lost, and another goes on", (seen) => (seen.over({ kind: "lost", why: "" }, 400), seen.resumed(vendor, 800)), "vendor", { "2xx": 1, latency: 800 }],
  ["is lost twice", (seen) => (seen.over({ kind: "lost", why: "" }, 400), seen.resumed(vendor, 800), seen.failed(810)), "vendor", { broken: 1, latency: 810 }],
  ["runs out of time", (seen) => (seen.over({ kind: "abandoned" }, 400), seen.failed(401)), "gpus", { broken: 1, latency: 401 }],
])("a stream that %s", (_name, end, upstream, expected) => {
  const tally = new Tally();
  const seen = new Journey(tally, service, 0);
  seen.began({ attempts: [], by: replica, status: 200, fallback: false }, decision, true, 30);
  end(seen);
  seen.close();
  const began = upstream === "gpus" ? { ttft: 30, prefixHits: 1 } : {};
  expect(told(tally)[upstream]).toEqual({ ...began, ...expected });
});

test("methods of going on and hedges are counted with those that were asked", () => {
  const tally = new Tally();
  const seen = new Journey(tally, service, 0);
  seen.began(
    { attempts: [{ id: "chat.local.1", outcome: "lost", ms: 1, midway: true }, { id: "vendor", outcome: "answer", ms: 1, hedge: true }, { id: "vendor", outcome: "answer", ms: 1, method: "text" }, { id: "chat.local.3", outcome: "unsent", ms: 1, method: "exact" }], by: replica, status: 200, fallback: false },
    { ...decision, scores: [] }, true, 10,
  );
  seen.over(undefined, 20);
  seen.close({ usage: { prompt_tokens: 3 }, reattached: 2 });
  expect(told(tally)).toMatchObject({ vendor: { answer: 2, hedges: 1, text: 1 }, gpus: { lost: 1, unsent: 1, reattach: 2, inputTokens: 3 } });
});

test("a request that is stopped after its answer has begun is counted once, as refused", () => {
  const tally = new Tally();
  const seen = new Journey(tally, service, 0);
  const { status } = new FairleadError("poison_request", "no");
  seen.began({ attempts: [], by: replica, status: 200, fallback: false }, decision, true, 30);
  seen.refused([{ id: "chat.local.1", outcome: "lost", ms: 3 }], status, false, 40);
  seen.failed(41);
  seen.close();
  expect(told(tally)).toMatchObject({ "": { "4xx": 1 }, gpus: { lost: 1, ttft: 30 } });
  expect(told(tally)).toEqual({});
});

test.each([["no_replica", 503, false, 1], ["saturated", 429, false, 1], ["saturated", 429, true, 0], ["provider_unreachable", 502, false, 0]] as const)("a refusal with %s and %i (its client left: %s) counts %i times as lack of capacity", (code, status, left, lacking) => {
  const tally = new Tally();
  new Journey(tally, service, 0).refused([], status, left, 50, code);
  expect(told(tally)[""]?.["refused"] ?? 0).toBe(lacking);
  new Journey(tally, { ...service, selfHosted: false }, 0).refused([], status, left, 50, code);
  expect(told(tally)[""]).not.toHaveProperty("refused");
});

test.each<[string, typeof replica, { id: string; outcome: "answer" | "throttled"; ms: number }[], boolean, number, number[]]>([
  ["a provider", vendor, [{ id: "vendor", outcome: "answer", ms: 5 }], true, 1, [0, 1]],
  ["a provider, and no replica was to", vendor, [{ id: "vendor", outcome: "answer", ms: 5 }], false, 0, [0, 0]],
  ["a provider, after a replica was at its limit", vendor, [{ id: "chat.local.1", outcome: "throttled", ms: 5 }, { id: "vendor", outcome: "answer", ms: 5 }], false, 1, [0, 0]],
  ["a replica, in the end", replica, [{ id: "vendor", outcome: "throttled", ms: 5 }, { id: "chat.local.1", outcome: "answer", ms: 5 }], true, 0, [1, 1]],
])("what is answered by %s counts as spilled once, and leaves the gauge once it is over", (_name, by, attempts, spilled, count, leaves) => {
  const tally = new Tally();
  const seen = new Journey(tally, service, 0);
  let left = 0;
  if (spilled) seen.spilled(() => (left = 1));
  seen.began({ attempts, by, status: 200, fallback: true }, decision, true, 30);
  const atBeginning = left;
  seen.close();
  expect([told(tally)[by.upstream]?.["spilled"] ?? 0, atBeginning, left]).toEqual([count, ...leaves]);
});

test("while requests are shared among versions, each attempt counts for its replica's version, whoever answered", () => {
  const counts = new VersionCounts();
  const versions = { of: new Map([["chat.local.1", 1], ["chat.local.2", 2]]), counts };
  const tally = new Tally();
  const seen = new Journey(tally, service, 0, versions);
  seen.began({ attempts: [{ id: "chat.local.2", outcome: "unable", ms: 5 }, { id: "chat.local.2", outcome: "unsent", ms: 1 }, { id: "chat.local.1", outcome: "answer", ms: 42 }, { id: "vendor", outcome: "answer", ms: 3 }], by: replica, status: 200, fallback: false }, decision, false, 60);
  seen.close();
  new Journey(tally, service, 0, versions).refused([{ id: "chat.local.2", outcome: "lost", ms: 9 }, { id: "chat.local.2", outcome: "caller", ms: 9 }], 502, false, 9);
  new Journey(tally, service, 0).refused([{ id: "chat.local.2", outcome: "lost", ms: 9 }], 502, false, 9);
  const failing = new Journey(tally, service, 0, versions);
  failing.began({ attempts: [{ id: "chat.local.1", outcome: "answer", ms: 4 }], by: replica, status: 503, fallback: false }, decision, false, 5);
  failing.close();
  const told = counts.drain();
  expect(told.map(({ version, answers, failures }) => [version, answers, failures])).toEqual([[2, 0, 2], [1, 1, 1]]);
  expect(told[1]?.ttft[bucketOf(digestBoundsMs.ttft, 42)]).toBe(1);
  expect(counts.drain()).toEqual([]);
});

test("versions are bounded: what is beyond them is counted nowhere", () => {
  const counts = new VersionCounts();
  for (let i = 1; i <= 2 * versionsToldMax; i++) counts.tried(`s${i}`, 1, "answer", 1, 200);
  expect(counts.drain()).toHaveLength(versionsToldMax);
});
