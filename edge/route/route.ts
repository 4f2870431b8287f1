import type { RouteService, Strategy } from "../../schema/bundle.ts";
import type { Random } from "../../schema/clock.ts";
import { boundOf, homeOf, homes, pickNearest, type Prompt } from "./affinity.ts";
import { capacities } from "./capacity.ts";
import { providerCandidate, replicaCandidate, type Candidate, type ReplicaRow } from "./candidates.ts";
import { Field } from "./field.ts";
import { Reasons } from "./filter.ts";
import type { Observed } from "./observed.ts";
import { bestReplicas, none, pickBest, pickNextTurn, pickWeighted } from "./pick.ts";
import { poolOf, type Pool } from "./pool.ts";
import { textHash } from "./prefix.ts";
import type { Match } from "./prefixMemory.ts";
import type { RequestFacts } from "./request.ts";
import { scoreCost, scoreKv, scoreLatency, scoreLoad, scorePrefix } from "./score.ts";
import { bestDrawn, drawnMax, drawVersion, enterDrawn, leaveDrawn, moveNewer, splitOf, type Shares, type Split } from "./shares.ts";
import { readsPrefix, scorers, weightsOf, type Scorer, type Weights } from "./strategy.ts";

export type { Candidate } from "./candidates.ts";
export { unusable } from "./filter.ts";

/** A candidate's score with its parts, for the log. */
export interface Scored {
  id: string;
  total: number;
  parts: Record<string, number>;
}

export interface Decision {
  /** In the order in which they are to be tried: the pick, then those that take over from it. Of many replicas the best few. */
  candidates: Candidate[];
  /** Why upstreams were left out, by id; of many the first, and under "…" how many more. */
  filtered: Record<string, string>;
  /** The best few before the pick. */
  scores: Scored[];
  strategy: Strategy;
  /** Replicas are there, and each is over its bounds: providers come first. */
  saturated: boolean;
}

export interface RouteFacts {
  service: RouteService;
  /** As the view has them; never changed afterwards. */
  replicas: readonly ReplicaRow[];
  request?: RequestFacts;
  observed?: Observed;
  /** Why upstreams may not be used now, by id: its breaker is open, it asked to be left alone, it was tried. */
  blocked?: ReadonlyMap<string, string>;
  /** Replicas that may take nothing more now, by what they were seen to be able to (`ramp.ts`): as those over their bounds. */
  full?: ReadonlySet<string>;
  /** The share of its usual traffic that an upstream in slow start may take, 0..1; 1 for all others. */
  pressure?: (id: string) => number;
  /** While requests are shared among versions: how. Absent: all replicas are alike. */
  shares?: Shares | undefined;
}

/** Replicas in a decision at most: attempts are ten at most (`schema/bundle.ts`), and some may be blocked by then. */
const replicasMax = 10;
const scoresMax = 4;
/** How often a pick in slow start is passed over. */
const passesMax = 4;
/**
 * Of a larger fleet, so many replicas at random are weighed, and those that may hold the prompt: the best of 256 is among the best half per
 * cent of all, and isolates that look at different ones do not all send to the same. Two would do (facts: power of two choices).
 */
export const sampleMax = 256;
/** Of a larger fleet, so many of a key's homes are weighed too. */
const homesMax = 4;

/** Kept from pick to pick; a pick is synchronous and leaves nothing in it that the next one reads. */
const field = new Field();

/** A session by the client's word, as a number. */
const sessionKey = (session: string, account: string): number => textHash(session, textHash(account));

/** What prefix affinity knows of the prompt that is being placed; undefined where nothing is asked of it. */
let prompt: Prompt | undefined;

/**
 * What is looked for in caches: what of the prompt is hot, and by which of its blocks all isolates find the same home for it. That is the
 * first that is not hot: a conversation's own behind a system prompt that all have, a group's first where many have one each.
 */
function promptOf(request: RequestFacts, observed: Observed | undefined, replicas: number): Prompt {
  const { prefix, conversation } = request;
  const hotBlocks = observed === undefined ? 0 : observed.latest.hotBlocks(prefix, conversation, replicas);
  return { hotBlocks, key: prefix[hotBlocks] ?? conversation, recurring: observed?.prefixes.recurring ?? 1, known: false };
}

/** The version of a request, while requests are shared among versions. */
interface Drawn {
  split: Split;
  version: number;
}

/** The rows to weigh: all, or of many a sample, and those where this request is at home or matches. */
function enterRows(pool: Pool, drawn: Drawn | undefined, key: number | undefined, matches: readonly Match[], providers: number, random: Random): void {
  const { rows, hash, indexOf } = pool;
  const whole = rows.length <= sampleMax;
  const count = whole ? rows.length : sampleMax;
  field.begin(pool, whole ? 0 : Math.min(rows.length - 1, Math.floor(random() * rows.length)), count, homesMax + matches.length + providers + drawnMax);
  if (whole) return;
  if (drawn !== undefined) enterDrawn(field, drawn.split, drawn.version, random);
  const add = (row: number | undefined): void => {
    if (row !== undefined && field.placeOf(row) < 0) field.add(row);
  };
  if (key !== undefined) for (const row of homes(hash, key, homesMax)) add(row);
  for (const { id } of matches) add(indexOf.get(id));
}

/** Filter replicas and providers, and enter what is known of those that are left. How much each scorer counts for them. */
function enter(facts: RouteFacts, pool: Pool, drawn: Drawn | undefined, reasons: Reasons, now: number, random: Random): Weights {
  const { service, blocked, observed, request } = facts;
  const { strategy } = service.routing;
  const { rows } = pool;
  reasons.addAll(pool.unusable);
  if (drawn !== undefined) reasons.addAll(drawn.split.left);
  const session = request?.session;
  prompt = request !== undefined && session === undefined && strategy === "prefix_affinity" ? promptOf(request, observed, rows.length) : undefined;
  const hotBlocks = prompt?.hotBlocks ?? 0;
  const matches = request !== undefined && observed !== undefined && session === undefined && readsPrefix(strategy) ? observed.prefixes.matches(request.prefix, now, hotBlocks) : [];
  if (prompt !== undefined) prompt.known = matches.length > 0;
  const key = session === undefined ? prompt?.key : sessionKey(session, (request as RequestFacts).account);
  enterRows(pool, drawn, key, matches, service.providers.length, random);
  if (blocked !== undefined) drop(blocked, pool, reasons);
  const weights = weightsOf(strategy, request);
  if (observed !== undefined) field.enterSeen(observed.among(pool), observed.stayMs, now, weights.latency !== undefined);
  if (facts.full !== undefined) fill(facts.full, pool);
  for (const { id, blocks, likely } of matches) {
    const row = pool.indexOf.get(id);
    const { length } = (request as RequestFacts).prefix;
    if (row !== undefined) field.enterMatch(row, (blocks / length) * likely, ((blocks - hotBlocks) / length) * likely);
  }
  const { qps } = service.replicas;
  if (qps !== undefined && strategy === "instance_aware_least_load") {
    const shares = capacities(pool, qps);
    for (let place = 0; place < field.replicas; place++) field.load[place] = (field.load[place] as number) / (shares[field.source[place] as number] as number);
  }
  for (const [index, { name }] of service.providers.entries()) {
    const why = blocked?.get(name);
    if (why === undefined) field.addProvider(index, observed?.get(name), now);
    else reasons.add(name, why);
  }
  return weights;
}

/** Take out those that may not be used now: of a fleet of thousands they are few. */
function drop(blocked: ReadonlyMap<string, string>, { indexOf }: Pool, reasons: Reasons): void {
  for (const [id, why] of blocked) {
    const row = indexOf.get(id);
    const place = row === undefined ? none : field.placeOf(row);
    if (place === none) continue;
    field.remove(place);
    reasons.add(id, why);
  }
}

/** Those that may take nothing more are as if they were over their bounds. */
function fill(full: ReadonlySet<string>, { indexOf }: Pool): void {
  for (const id of full) {
    const place = field.placeOf(indexOf.get(id) ?? none);
    if (place !== none) field.full[place] = 1;
  }
}

/** Score by each scorer that counts; those that did not abstain. */
function score(weights: Weights, { service, request, observed }: RouteFacts, now: number): Scorer[] {
  const ran: [Scorer, number][] = [];
  let sum = 0;
  for (const scorer of scorers) {
    const weight = weights[scorer];
    if (weight === undefined || !scoreBy(scorer, field.scores[scorer], service, request, observed === undefined ? now : undefined)) continue;
    ran.push([scorer, weight]);
    sum += weight;
  }
  field.total.fill(0, 0, field.size);
  for (const [scorer, weight] of ran) field.weigh(scorer, weight / sum);
  return ran.map(([scorer]) => scorer);
}

function scoreBy(scorer: Scorer, out: Float32Array, { replicas, providers }: RouteService, request: RequestFacts | undefined, fadeAt: number | undefined): boolean {
  switch (scorer) {
    case "load":
      return scoreLoad(field, out, fadeAt);
    case "kv":
      return scoreKv(field, out);
    case "prefix":
      return scorePrefix(field, out);
    case "latency":
      return scoreLatency(field, out, request);
    case "cost":
      return scoreCost(field, out, replicas.price, (place) => providers[field.source[place] as number]?.price, request);
  }
}

interface Ranks {
  own: number;
  providers: number[];
}

/** Worked out once per bundle: each has service objects of its own. */
const rankings = new WeakMap<RouteService, Ranks>();

/**
 * The order in which upstreams take over from each other: the fallback chain's; then those it does not name, first those that are no
 * fallback, replicas before providers, providers as the file has them.
 */
export function ranks(service: RouteService): Ranks {
  const known = rankings.get(service);
  if (known !== undefined) return known;
  const { routing: { fallbackChain }, replicas, providers } = service;
  const rank = (name: string, fallback: boolean, fileOrder: number): number => {
    const named = fallbackChain.indexOf(name);
    return named >= 0 ? named : fallbackChain.length + (fallback ? providers.length + 1 : 0) + fileOrder;
  };
  const result = { own: rank(replicas.name, replicas.fallback, 0), providers: providers.map(({ name, fallback }, i) => rank(name, fallback, i + 1)) };
  rankings.set(service, result);
  return result;
}

/** Who competes as one: all replicas, or the provider at a place. */
type Upstream = "replicas" | number;

/** Leave only one upstream in the competition. */
function leave(chosen: Upstream): void {
  const { replicas, size, competes } = field;
  if (chosen !== "replicas") competes.fill(0, 0, replicas);
  for (let i = replicas; i < size; i++) if (i !== chosen) competes[i] = 0;
}

/** Where the strategy chooses among upstreams before it chooses among replicas: leave only the chosen one in the competition. */
function chooseUpstream({ routing: { strategy }, replicas, providers }: RouteService, rank: Ranks, random: Random): void {
  if (strategy !== "weighted" && strategy !== "availability_first") return;
  const upstreams: Upstream[] = anyCompetes(field.competes, field.replicas) ? ["replicas"] : [];
  for (let i = field.replicas; i < field.size; i++) if (field.competes[i] === 1) upstreams.push(i);
  if (upstreams.length < 2) return;
  const provider = (place: number): number => field.source[place] as number;
  if (strategy === "weighted") {
    const weights = upstreams.map((one) => (one === "replicas" ? replicas.weight : (providers[provider(one)]?.weight ?? 0)));
    leave(upstreams[pickWeighted(weights, random)] ?? "replicas");
    return;
  }
  const rankOf = (one: Upstream): number => (one === "replicas" ? rank.own : (rank.providers[provider(one)] ?? 0));
  leave(upstreams.reduce((first, one) => (rankOf(one) < rankOf(first) ? one : first)));
}

/** One pick among those that compete. */
function pickOne({ service: { routing: { strategy } }, request }: RouteFacts, { hash }: Pool, random: Random): number {
  if (strategy === "round_robin") return pickNextTurn(field, random);
  const best = pickBest(field, random);
  if (best === none || best >= field.replicas || request === undefined) return best;
  // the pick is a replica: what belongs together goes to the same one, while its load allows
  const { session } = request;
  if (session === undefined && prompt === undefined) return best;
  const bound = boundOf(field);
  const home = session !== undefined ? homeOf(field, hash, sessionKey(session, request.account), bound) : prompt === undefined ? none : pickNearest(field, hash, request, prompt, bound);
  return home === none ? best : home;
}

function idOf(place: number, pool: Pool, { providers }: RouteService): string {
  const source = field.source[place] as number;
  return place < field.replicas ? (pool.rows[source] as ReplicaRow).replica.id : (providers[source]?.name ?? "");
}

/** The pick. One in slow start is passed over as often as its pressure says; when only such are left, the first of them takes the request. */
function pick(facts: RouteFacts, pool: Pool, random: Random): number {
  let passed = none;
  for (let passes = 0; passes < passesMax; passes++) {
    const place = pickOne(facts, pool, random);
    if (place === none) return passed;
    const back = pool.share !== undefined && place < field.replicas ? (pool.share[field.source[place] as number] as number) : 1;
    const share = Math.min(back, facts.pressure?.(idOf(place, pool, facts.service)) ?? 1);
    if (share >= 1 || random() < share) return place;
    if (passed === none) passed = place;
    field.competes[place] = 0;
  }
  return passed;
}

/** Who competes: those that are no fallback, and not over their bounds. */
function compete({ replicas: own, providers }: RouteService): void {
  const { replicas, size, competes, full, source } = field;
  if (own.fallback) competes.fill(0, 0, replicas);
  else for (let i = 0; i < replicas; i++) competes[i] = 1 - (full[i] as number);
  for (let i = replicas; i < size; i++) competes[i] = providers[source[i] as number]?.fallback === true ? 0 : 1;
}

// Loops, not views of the part: making one costs more than looking at a few hundred bytes.

function allFull(full: Uint8Array, count: number): boolean {
  for (let i = 0; i < count; i++) if (full[i] === 0) return false;
  return true;
}

function anyCompetes(competes: Uint8Array, count: number): boolean {
  for (let i = 0; i < count; i++) if (competes[i] === 1) return true;
  return false;
}

/** The few best by total with the parts of it, for the log. */
function explain(places: readonly number[], parts: readonly Scorer[], pool: Pool, service: RouteService): Scored[] {
  const { total, scores } = field;
  // most services have one upstream, whose requests are in a hurry too
  return (places.length < 2 ? places : places.toSorted((a, b) => (total[b] as number) - (total[a] as number)).slice(0, scoresMax))
    .map((place) => {
      const by: Record<string, number> = {};
      for (const scorer of parts) by[scorer] = scores[scorer][place] as number;
      return { id: idOf(place, pool, service), total: total[place] as number, parts: by };
    });
}

/** Put one before what is at a place of the order; -1: before nothing, where it was. */
function putFirst(order: number[], one: number, at: number): void {
  if (one === none || at < 0 || order[at] === one) return;
  const known = order.indexOf(one);
  if (known >= 0) order.splice(known, 1);
  order.splice(at, 0, one);
}

/**
 * Filter, score, pick: which upstream takes a request, and which ones take over from it.
 *
 * Those that are no fallback and not over their bounds compete by the service's strategy. Behind the pick come the others in the order of
 * the fallback chain, replicas among themselves by score; replicas over their bounds come last. While requests are shared among versions,
 * one is drawn for each request, and replicas of the others only take over.
 *
 * @param now ms since the epoch; the newest snapshot's time when absent
 */
export function route(facts: RouteFacts, random: Random, now?: number): Decision {
  const { service } = facts;
  const { strategy } = service.routing;
  const split = facts.shares === undefined ? undefined : splitOf(facts.replicas, facts.shares);
  const drawn = split === undefined ? undefined : { split, version: drawVersion(split, facts.request, random) };
  const pool = poolOf(split?.rows ?? facts.replicas);
  const at = now ?? pool.takenAt;
  const reasons = new Reasons();
  const parts = score(enter(facts, pool, drawn, reasons, at, random), facts, at);
  compete(service);
  if (drawn !== undefined) leaveDrawn(field, drawn.split, drawn.version);
  const { replicas, size, full, source } = field;
  const saturated = replicas > 0 && allFull(full, replicas);

  if (split !== undefined) moveNewer(field, split, -1);
  const best = bestReplicas(field, replicasMax, random);
  if (split !== undefined) moveNewer(field, split, 1);
  const providers: number[] = [];
  for (let i = replicas; i < size; i++) providers.push(i);
  const scores = explain([...best.slice(0, scoresMax), ...providers], parts, pool, service);
  const rank = ranks(service);
  const rankOf = (place: number): number => (place >= replicas ? (rank.providers[source[place] as number] as number) : full[place] === 1 ? Number.MAX_SAFE_INTEGER : rank.own);
  // stable: replicas stay in the order of their totals
  const order = [...best, ...providers];
  if (order.length > 1) order.sort((a, b) => rankOf(a) - rankOf(b));

  chooseUpstream(service, rank, random);
  const first = pick(facts, pool, random);
  if (drawn !== undefined && (first === none || first >= replicas)) putFirst(order, bestDrawn(field, drawn.split, drawn.version), order.findIndex((place) => place < replicas));
  if (first !== none) putFirst(order, first, 0);
  const candidates = order.map((place): Candidate => {
    const index = source[place] as number;
    return place < replicas ? replicaCandidate(service, pool.rows[index] as ReplicaRow) : providerCandidate(service.providers[index] as RouteService["providers"][number]);
  });
  return { candidates, filtered: reasons.told(), scores, strategy, saturated };
}
