import { FairleadError } from "../../schema/errors.ts";
import type { RouteService } from "../../schema/bundle.ts";
import { tellWanted } from "../decisions.ts";
import { lateMs } from "../forward/attempts.ts";
import { endOf } from "../forward/deadline.ts";
import type { Decided } from "../forward/forward.ts";
import { remembered } from "../forward/memory.ts";
import { waitMsMax } from "../forward/retryAfter.ts";
import type { Survey, Upstreams } from "../forward/standing.ts";
import type { ReplicaRow } from "../route/candidates.ts";
import { poolOf } from "../route/pool.ts";
import type { RequestFacts } from "../route/request.ts";
import { route, type Decision, type RouteFacts } from "../route/route.ts";
import { isMixed, versionsIn } from "../route/shares.ts";
import { spills } from "../route/spill.ts";
import type { Journey } from "../telemetry/journey.ts";
import { newsFor, type View } from "../view.ts";
import type { RouterRequest } from "./context.ts";

/** One list for all services that have none: what is worked out of a list is kept with it. */
const noReplicas: readonly ReplicaRow[] = [];

function replicasOf(view: View, { name }: RouteService): readonly ReplicaRow[] {
  return view.replicas.get(name) ?? noReplicas;
}

/** All upstreams of a service, as the view lists them. */
export function upstreamsOf(view: View, service: RouteService): Upstreams {
  return { replicas: replicasOf(view, service), providers: service.providers };
}

/** The versions of a service's replicas; undefined while there is one only, and no other is on its way. */
export function versionsOf(view: View, service: RouteService): ReadonlyMap<string, number> | undefined {
  const rows = replicasOf(view, service);
  return view.shares.has(service.name) || isMixed(rows) ? versionsIn(rows) : undefined;
}

function routed(c: RouterRequest, view: View, service: RouteService, request: RequestFacts | undefined, tried?: readonly string[]): { decision: Decision; survey: Survey | undefined } {
  const now = Date.now();
  const { standings, observed } = remembered(service);
  const upstreams = upstreamsOf(view, service);
  const survey = standings.untroubled ? undefined : standings.survey(upstreams, request === undefined ? "" : c.req.path, now, tried);
  const facts: RouteFacts = { service, replicas: upstreams.replicas, observed, shares: view.shares.get(service.name) };
  if (service.selfHosted && service.providers.length > 0) {
    const full = observed.ramps.full(poolOf(upstreams.replicas), observed.inFlight, now);
    if (full !== undefined) facts.full = full;
  }
  if (request !== undefined) facts.request = request;
  if (survey !== undefined) {
    facts.blocked = survey.blocked;
    facts.pressure = survey.pressure;
  }
  return { decision: route(facts, Math.random, now), survey };
}

/** No candidates, for a request that is refused. */
export function nowhere({ routing }: RouteService, refused: FairleadError): Decided {
  return { strategy: routing.strategy, saturated: false, candidates: [], filtered: {}, scores: [], refused };
}

/** The candidates, after one look for news when the view has none; with the reason when there is none then either. */
export async function decide(c: RouterRequest, view: View, service: RouteService, request?: RequestFacts): Promise<Decided> {
  const first = routed(c, view, service, request);
  if (first.decision.candidates.length > 0) return withLack(first.decision, view, service);
  // what is at its limit for a moment is waited for; what is broken is not
  if (first.survey?.throttledOnly === true && first.survey.freeInMs <= waitMsMax) {
    await scheduler.wait(first.survey.freeInMs);
    const later = routed(c, view, service, request).decision;
    if (later.candidates.length > 0) return withLack(later, view, service);
  }
  const news = await newsFor(c.env, c.req.raw, view);
  const again = routed(c, news, service, request);
  if (again.decision.candidates.length > 0) return withLack(again.decision, news, service);
  return { ...withLack(again.decision, news, service), refused: nothingLeft(service, again.decision, again.survey) };
}

/** The decision, and whether no replica is ready where one could be. */
function withLack(decision: Decision, view: View, service: RouteService): Decided {
  if (!service.selfHosted || decision.candidates[0]?.kind === "replica" || poolOf(replicasOf(view, service)).rows.length > 0) return decision;
  return { ...decision, lacking: true };
}

/** The decision; where no replica takes a request to a service that may have some, it counts as one more that is wanted. */
export function seenLack(c: RouterRequest, service: RouteService, decision: Decided, seen: Journey, startedAt: number): Decided {
  if (!service.selfHosted || decision.candidates[0]?.kind === "replica") return decision;
  if (spills(service, decision, Math.random)) {
    const { spilled } = remembered(service);
    const stay = spilled.enter(endOf(startedAt, service.timeouts) + lateMs);
    seen.spilled(() => spilled.leave(stay));
  }
  if (decision.lacking === true) tellWanted(c.env, c.req.raw, (work) => c.executionCtx.waitUntil(work), service.name, Date.now());
  return decision;
}

function nothingLeft({ name }: RouteService, { filtered, saturated }: Decision, survey: Survey | undefined): FairleadError {
  if (survey !== undefined && Number.isFinite(survey.freeInMs)) {
    const retryAfterMs = Math.max(1_000, survey.freeInMs);
    if (survey.throttledOnly) return new FairleadError("saturated", `Cannot serve "${name}": its upstreams are at their limit`, { retryAfterMs });
    return new FairleadError("provider_unreachable", `Cannot serve "${name}": none of its upstreams answers`, { retryAfterMs });
  }
  if (saturated) return new FairleadError("saturated", `Cannot serve "${name}": every replica is at its limit`, { retryAfterMs: 1_000 });
  return new FairleadError("no_replica", `Cannot serve "${name}": ${Object.keys(filtered).length === 0 ? "no replica exists" : "no replica is ready"}`, { retryAfterMs: 2_000 });
}

/** The candidates by a view as it is. */
export function decideBy(c: RouterRequest, view: View, service: RouteService, request?: RequestFacts): Decided {
  return withLack(routed(c, view, service, request).decision, view, service);
}

/** The candidates by the latest news, for a request that `tried` has failed, if any. */
export async function redecide(c: RouterRequest, view: View, service: RouteService, request?: RequestFacts, tried?: readonly string[]): Promise<Decision> {
  return routed(c, await newsFor(c.env, c.req.raw, view), service, request, tried).decision;
}
