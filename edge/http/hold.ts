import type { RouteService } from "../../schema/bundle.ts";
import { FairleadError } from "../../schema/errors.ts";
import { tellWanted } from "../decisions.ts";
import { endOf } from "../forward/deadline.ts";
import type { Decided, Forwarded, Unforwarded } from "../forward/forward.ts";
import { remembered } from "../forward/memory.ts";
import { poolOf } from "../route/pool.ts";
import { spills } from "../route/spill.ts";
import { latestView, newsFor, type View } from "../view.ts";
import type { RouterRequest } from "./context.ts";

/** How often one that waits looks: a view is not asked for again sooner (`edge/view.ts`). */
const lookMs = 250;
/** And how often when replicas are ready and it is not its turn: first tokens, by which turns come, take some hundredths of a second. */
const turnMs = 50;
/** When to come back after waiting in vain, or where there is no place to wait. */
const retryAfterMs = 2_000;

/**
 * Whether a request waits for a replica: none is ready, and no provider answers for them, or not before waiting. One that comes while
 * others wait takes its place behind them.
 */
function waits(service: RouteService, decision: Decided): boolean {
  const { fromZero } = service;
  if (fromZero === undefined || fromZero.holdMs === 0) return false;
  const [first] = decision.candidates;
  if (decision.lacking !== true) return first?.kind === "replica" && remembered(service).room.count(Date.now()) > 0;
  return first === undefined || (!fromZero.fallback && spills(service, decision, Math.random));
}

/** Whether a request was taken by none of those that it was sent to: they have gone since the view was made. */
function isUntaken(sent: Forwarded | Unforwarded): boolean {
  return "error" in sent && sent.attempts.length > 0 && sent.attempts.every(({ outcome }) => outcome === "unsent");
}

export interface Held {
  /** What was decided without waiting, and by which view. */
  decision: Decided;
  view: View;
  service: RouteService;
  startedAt: number;
  /** What it holds in memory. */
  bytes: number;
  /** A provider may answer it too: what the first replicas cannot take goes there. */
  covered: boolean;
  /** It can be sent again when nobody took it. */
  whole: boolean;
  /** Its client has left. */
  gone: () => boolean;
  /** What is decided by another view. */
  route: (view: View) => Decided;
  send: (decision: Decided, view: View) => Promise<Forwarded | Unforwarded>;
  /** It has waited, for so long; by this view it is sent now. */
  waited: (ms: number, view: View) => void;
}

/** Send a request, after waiting where it has to; and once more after waiting, when its replicas have just gone. */
export async function sendOrHold(c: RouterRequest, facts: Held): Promise<Forwarded | Unforwarded> {
  const { decision, view, service, whole, route, send, waited } = facts;
  const hold = async (from: Pick<Held, "decision" | "view">): Promise<Forwarded | Unforwarded> => {
    const since = Date.now();
    const { decision: then, view: by } = await untilReady(c, { ...facts, ...from });
    waited(Date.now() - since, by);
    return send(then, by);
  };
  if (waits(service, decision)) return hold(facts);
  const sent = await send(decision, view);
  if (service.fromZero === undefined || !whole || !isUntaken(sent)) return sent;
  const latest = latestView(view);
  const again = route(latest);
  if (!waits(service, again)) return sent;
  const held = await hold({ decision: again, view: latest });
  held.attempts.unshift(...sent.attempts);
  return held;
}

/**
 * Wait for a replica, as long as the service and the request's own time allow. Those that wait go in the order in which they came, as many
 * at a time as the first replicas are seen to be able to take (`edge/route/ramp.ts`). The first in line asks for news; its answer is
 * everybody's.
 *
 * @returns where it may go then: to a replica; else to a provider, if there is one, or nowhere
 */
async function untilReady(c: RouterRequest, { decision, view, service, startedAt, bytes, covered, gone, route }: Held): Promise<{ decision: Decided; view: View }> {
  const { name, timeouts, fromZero, providers } = service;
  const { room, observed } = remembered(service);
  const from = Date.now();
  const waiting = room.enter(bytes, from);
  if (waiting === undefined) return { view, decision: orRefused(decision, `Cannot serve "${name}": ${decision.lacking === true ? "no replica is ready" : "its replicas are just starting"}, and as many requests as fit wait for them`) };
  const until = Math.min(startedAt + (fromZero?.holdMs ?? 0), endOf(startedAt, timeouts));
  let news = view;
  try {
    for (let now = from; ; now = Date.now()) {
      if (gone()) return { view: news, decision: refused(decision, `Cannot serve "${name}": the client has gone`) };
      const before = room.before(waiting, now);
      const pool = poolOf(news.replicas.get(name) ?? []);
      const fits = observed.ramps.fit(before + 1, pool, observed.inFlight, now);
      if (pool.rows.length === 0) tellWanted(c.env, c.req.raw, (work) => c.executionCtx.waitUntil(work), name, now);
      else if (fits || covered || now >= until) {
        const routed = route(news);
        if (routed.candidates.some(({ kind }) => kind === "replica")) return { view: news, decision: routed };
      }
      if (now >= until) break;
      await scheduler.wait(Math.min(pool.rows.length === 0 ? lookMs : turnMs, until - now));
      news = before === 0 ? await newsFor(c.env, c.req.raw, news) : latestView(news);
    }
    return { view: news, decision: orRefused(route(news), `Cannot serve "${name}": no replica was ready within ${Math.round((until - startedAt) / 1_000)} s of waiting`) };
  } finally {
    room.leave(waiting);
    // without cover what replicas take is limited only while somebody waits
    if (providers.length === 0 && room.count(Date.now()) === 0) observed.ramps.forget();
  }
}

/** The decision where it leads anywhere. */
function orRefused(decision: Decided, message: string): Decided {
  return decision.candidates.length > 0 ? decision : refused(decision, message);
}

function refused(decision: Decided, message: string): Decided {
  return { ...decision, candidates: [], refused: new FairleadError("no_replica", message, { retryAfterMs }) };
}
