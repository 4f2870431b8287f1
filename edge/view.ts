import { routeBundleSchema, type RouteBundle, type RouteKey, type RouteService } from "../schema/bundle.ts";
import { nearestRegion, type Place } from "../schema/region.ts";
import type { Snapshot, SnapshotHost, SnapshotReplica, ViewUpdate } from "../schema/snapshot.ts";
import { snapshotsAfter } from "./changed.ts";
import type { RouterEnv } from "./env.ts";
import { regionsOf } from "./regions.ts";
import { within } from "./within.ts";

/** Younger than this, a view is used as it is; older, it is used and refreshed behind the request. */
const freshMs = 1_000;
/** Older than this, a request waits for the refresh, and if that fails goes on with what there is. */
const staleMsMax = 30_000;
/** How long a request waits for a Hub before it takes the copy in KV. */
const hubWaitMs = 2_000;
/** A request that misses something (a key, a model, a replica) may ask for news when the view is at least this old. */
const newsMsMin = 250;
/** How often a request that waits for another one's news looks for it. */
const newsLookMs = 5;

/** The bundle, indexed once when it arrives. */
export interface Routes {
  version: number;
  byModel: ReadonlyMap<string, RouteService>;
  byName: ReadonlyMap<string, RouteService>;
  keys: ReadonlyMap<string, RouteKey>;
  /** Whole keys that were verified against this bundle: what makes authentication free on a warm isolate. */
  verified: Map<string, RouteKey>;
}

/** An isolate's copy of bundle and snapshots: immutable, replaced whole. */
export interface View {
  routes: Routes;
  snapshots: readonly Snapshot[];
  /** By service; each with the snapshot it came from. */
  replicas: ReadonlyMap<string, readonly { replica: SnapshotReplica; host: SnapshotHost; takenAt: number }[]>;
  /** Requests by version, of services that have more than one at a time. */
  shares: ReadonlyMap<string, Readonly<Record<string, number>>>;
  /** Requests that are refused because replicas died of them: until when, by account and fingerprint. */
  quarantined: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** When this isolate got it, by its own clock. */
  fetchedAt: number;
}

let current: View | undefined;
let refreshing = false;
/** When a Hub was last waited for in vain. */
let unheardAt = Number.NEGATIVE_INFINITY;
let askingSince = 0;

export function indexRoutes(bundle: RouteBundle): Routes {
  const byModel = new Map<string, RouteService>();
  for (const service of bundle.services) for (const model of service.models) byModel.set(model, service);
  return {
    version: bundle.version,
    byModel,
    byName: new Map(bundle.services.map((service) => [service.name, service])),
    keys: new Map(bundle.keys.map((key) => [key.id, key])),
    verified: new Map(),
  };
}

const nothing: RouteBundle = { version: 0, publishedAt: 0, services: [], keys: [] };

/** The view that follows from another and an update; a bundle older than what is known is ignored. */
export function advance(from: View | undefined, update: ViewUpdate, now: number): View {
  const known = from?.routes;
  const newer = update.route !== undefined && (known === undefined || update.route.version > known.version);
  const routes = newer && update.route !== undefined ? indexRoutes(update.route) : (known ?? indexRoutes(nothing));
  const replicas = new Map<string, { replica: SnapshotReplica; host: SnapshotHost; takenAt: number }[]>();
  const snapshots = snapshotsAfter(from?.snapshots ?? [], update);
  for (const { hosts, replicas: rows, takenAt } of snapshots) {
    const byId = new Map(hosts.map((host) => [host.id, host]));
    for (const replica of rows) {
      const host = byId.get(replica.host);
      if (host === undefined) continue;
      const list = replicas.get(replica.service);
      if (list === undefined) replicas.set(replica.service, [{ replica, host, takenAt }]);
      else list.push({ replica, host, takenAt });
    }
  }
  return { routes, snapshots, replicas, shares: sharesOf(update), quarantined: quarantinedOf(snapshots), fetchedAt: now };
}

const noShares: View["shares"] = new Map();

function sharesOf({ scales = [] }: ViewUpdate): View["shares"] {
  return scales.length === 0 ? noShares : new Map(scales.flatMap(({ service, shares }) => (shares === undefined ? [] : [[service, shares] as const])));
}

const nobody: View["quarantined"] = new Map();

function quarantinedOf(snapshots: readonly Snapshot[]): View["quarantined"] {
  let all: Map<string, Map<string, number>> | undefined;
  for (const { quarantined = [] } of snapshots) {
    for (const { account, fingerprint, until } of quarantined) {
      all ??= new Map();
      const own = all.get(account) ?? new Map<string, number>();
      own.set(fingerprint, Math.max(until, own.get(fingerprint) ?? 0));
      all.set(account, own);
    }
  }
  return all ?? nobody;
}

/** Where the request entered Cloudflare; unknown on one machine. */
function placeOf(request: Request): Place | undefined {
  const cf = request.cf;
  const latitude = Number(cf?.latitude ?? Number.NaN);
  const longitude = Number(cf?.longitude ?? Number.NaN);
  return Number.isFinite(latitude) && Number.isFinite(longitude) ? { latitude, longitude } : undefined;
}

/** The Hub nearest to a request: the only one that its isolate talks to. */
export function nearestHub(env: RouterEnv, request: Request): ReturnType<RouterEnv["HUB"]["getByName"]> {
  return env.HUB.getByName(nearestRegion(placeOf(request), regionsOf(env)));
}

async function askHub(env: RouterEnv, request: Request): Promise<void> {
  const update = await nearestHub(env, request).view(current?.routes.version ?? 0, Object.fromEntries((current?.snapshots ?? []).map(({ region, version }) => [region, version])));
  current = advance(current, update, Date.now());
}

/** The copy in KV, checked before it is believed: it has been through other hands than a Hub's memory. */
async function askKv(env: RouterEnv): Promise<void> {
  const parsed = routeBundleSchema.safeParse(await env.CONFIG.get("bundle", "json"));
  if (parsed.success && (current === undefined || parsed.data.version > current.routes.version)) {
    current = advance(undefined, { route: parsed.data, bundleVersion: parsed.data.version, snapshots: current?.snapshots ? [...current.snapshots] : [] }, Date.now());
  }
}

async function refreshBehind(env: RouterEnv, request: Request): Promise<void> {
  refreshing = true;
  try {
    // a Hub that hangs must not keep others from asking
    await within(askHub(env, request), hubWaitMs);
  } catch (error) {
    // Static stability: without a Hub the isolate goes on with what it has.
    console.warn(JSON.stringify({ message: "view refresh failed", error: String(error), ageMs: current ? Date.now() - current.fetchedAt : undefined }));
  } finally {
    refreshing = false;
  }
}

/** Whether work came to its end in time; why it did not is nobody's to know here. */
function came(work: Promise<void>): Promise<boolean> {
  return within(work, hubWaitMs).then(() => true, () => false);
}

/** Wait for a refresh; a cold isolate takes the copy in KV when no Hub answers. */
async function refreshNow(env: RouterEnv, request: Request): Promise<void> {
  if (await came(askHub(env, request))) return;
  unheardAt = Date.now();
  if (current === undefined) await came(askKv(env));
}

/**
 * The isolate's view. On a warm isolate this is one comparison: no Durable Object, no KV.
 *
 * @returns undefined when neither a Hub nor KV has ever answered
 */
export function getView(env: RouterEnv, request: Request, waitUntil: (work: Promise<unknown>) => void): View | Promise<View | undefined> {
  if (current !== undefined) {
    const now = Date.now();
    if (isFresh(current, now)) return current;
    // a Hub that says nothing costs one wait, and not one a request
    if (now - current.fetchedAt < staleMsMax || now - unheardAt < staleMsMax) {
      if (!refreshing) waitUntil(refreshBehind(env, request));
      return current;
    }
  }
  return refreshNow(env, request).then(() => current);
}

/** Whether a view is used as it is, without asking for another. */
function isFresh({ fetchedAt }: View, at: number): boolean {
  return at - fetchedAt < freshMs;
}

/**
 * News for a request that misses something: one refresh an isolate at a time, whatever the number of requests that miss. The
 * others look for its value and never share its promise: a request owns its I/O, and the one that asks may be cancelled.
 *
 * @returns the view after it; the same as before when nothing could be had
 */
export async function newsFor(env: RouterEnv, request: Request, before: View): Promise<View> {
  const latest = (): View => latestView(before);
  if (latest() !== before || Date.now() - before.fetchedAt < newsMsMin) return latest();
  const asking = (): boolean => askingSince > 0 && Date.now() - askingSince < hubWaitMs;
  while (asking()) {
    await scheduler.wait(newsLookMs);
    if (latest() !== before) return latest();
  }
  askingSince = Date.now();
  try {
    await refreshNow(env, request);
  } finally {
    askingSince = 0;
  }
  return latest();
}

/** The view by which a failure is judged: what was used of one that was not fresh may be no more, as when a service was taken down while nobody asked. */
export function viewAfterFailure(env: RouterEnv, request: Request, before: View, startedAt: number): View | Promise<View> {
  return isFresh(before, startedAt) ? latestView(before) : newsFor(env, request, before);
}

/** The isolate's view as it is now: for one that waits, and leaves asking to another. */
export function latestView(before: View): View {
  return current ?? before;
}

/** Forget everything: for tests that start from a cold isolate. */
export function forgetView(): void {
  current = undefined;
  refreshing = false;
  unheardAt = Number.NEGATIVE_INFINITY;
  askingSince = 0;
}
