import type { Now } from "../../schema/clock.ts";
import type { RolloutPolicy } from "../../schema/policy.ts";
import { isOver } from "../../schema/replica.ts";
import type { RolloutStatus, ScaleDecision, ScaleReplica, VersionSeen } from "../../schema/scale.ts";
import { lookMs, rolling, stand, type Coming, type Stand, type VersionRef, type Wanted } from "./modes.ts";

export type { VersionRef, Wanted } from "./modes.ts";

export interface RolloutFacts {
  /** As people configured it. */
  current: VersionRef;
  /** The last one that served well, as long as it may be gone back to. */
  previous?: VersionRef | undefined;
  /** Of the whole service. */
  desired: number;
  /** Of all versions, those that failed too. */
  replicas: readonly ScaleReplica[];
  /** Sums that never fall (`addSeen`). */
  seen: readonly VersionSeen[];
  /** Some region was not heard: no step is taken, and nothing concluded from what is missing. */
  partial?: boolean;
}

/** What a rollout remembers; JSON. */
export interface RolloutState {
  /** What the service ran when no rollout was under way. */
  stable: VersionRef & { /** It was ready once. */ proven: boolean };
  coming?: Coming;
  /** Given up; not tried again under this version. */
  refused?: VersionRef & { reason: string };
  /** As it was told last. */
  status?: RolloutStatus;
}

export interface Rollout {
  /** As the replicas of the first get ready, those of versions that are not named go. */
  wanted: Wanted[];
  /** Requests by version; absent: by what is ready. */
  shares?: Record<string, number>;
  /** Absent for a service that has had one version only. */
  status?: RolloutStatus;
  /** What is new, for people: told once. */
  action?: Pick<ScaleDecision, "action" | "reason">;
  state: RolloutState;
  /** When to look again, in ms from now; Infinity: nothing happens by itself. */
  nextMs: number;
}

/** Replicas of one digest, counted. */
interface Own {
  ready: number;
  /** With a place, whatever became of them. */
  placed: number;
  /** May still get ready. */
  coming: number;
  alive: number;
  wasReady: boolean;
  /** The one that failed last. */
  failed: ScaleReplica | undefined;
}

function ownOf(replicas: readonly ScaleReplica[], digest: string): Own {
  const own = replicas.filter((replica) => replica.digest === digest);
  const goes = (phase: ScaleReplica["phase"]): boolean => isOver(phase) || phase === "draining" || phase === "stopping";
  return {
    ready: own.filter(({ phase, reachable }) => phase === "ready" && reachable).length,
    placed: own.filter(({ phase }) => phase === "failed" || !isOver(phase)).length,
    coming: own.filter(({ phase }) => phase !== "ready" && !goes(phase)).length,
    alive: own.filter(({ phase }) => !isOver(phase)).length,
    wasReady: own.some(({ wasReady, phase }) => wasReady || phase === "ready"),
    failed: own.filter(({ phase }) => phase === "failed").reduce<ScaleReplica | undefined>((last, one) => (last === undefined || one.since > last.since ? one : last), undefined),
  };
}

/** None is ready, none may get ready, and one has failed. */
function isDead({ ready, coming, failed }: Own): boolean {
  return ready === 0 && coming === 0 && failed !== undefined;
}

const whyFailed = ({ id, reason }: ScaleReplica): string => `${id} failed${reason === undefined ? "" : `: ${reason}`}`;
/** A failure is the version's, a refusal its host's, whose owner may change his mind (`edge/hub/refusals.ts`). */
const whetherAgain = ({ refused }: ScaleReplica): string => (refused === true ? "hosts that would not run it are asked again later" : "it is not tried again");
const never = ({ wasReady }: Own): string => (wasReady ? "is no longer ready" : "never got ready");

/**
 * How many replicas of which version there should be while a new one takes the place of the one before, and how requests are shared
 * among them. A version that never gets ready takes no request and is not tried again: it is taken back where the policy says so, else
 * everything stays as it is. Asked twice, it answers the same.
 */
export function rollout(policy: RolloutPolicy, facts: RolloutFacts, before: RolloutState | undefined, now: Now): Rollout {
  const { current, previous, desired, replicas, seen, partial = false } = facts;
  const stable = stableOf(facts, before);
  const own = ownOf(replicas, current.digest);
  if (current.digest === stable.digest) return settled(facts, { ...stable, ...current, proven: stable.proven || own.wasReady }, own, before);

  const from = previous !== undefined && previous.digest !== current.digest ? previous : undefined;
  if (before?.refused?.version === current.version) return back(facts, from ?? stable, before);

  const coming = continued(before?.coming, current, from === undefined ? "rolling" : policy.mode);
  const others = replicas.filter(({ digest, phase }) => digest !== current.digest && !isOver(phase)).length;
  const mode = { policy, coming, desired, ready: own.ready, placed: own.placed, others, seen, partial, now };
  const at = from === undefined ? rolling({ ...mode, from }) : stand({ ...mode, from });

  const dead = !partial && isDead(own);
  const bad = at.worse ?? (dead ? `it ${never(own)}: ${whyFailed(own.failed as ScaleReplica)}` : undefined);
  if (bad !== undefined && policy.rollback && from !== undefined) return back(facts, from, { stable, refused: { ...current, reason: bad }, ...keptStatus(before) });

  if (at.over === "all") return told(before, { stable: { ...current, proven: true } }, at, { mode: coming.mode, state: "done", version: current.version, ...fromOf(from), reason: at.reason }, "done");
  const state: RolloutState = { stable, coming: at.coming };
  const place = { mode: coming.mode, version: current.version, ...fromOf(from), ...sharesOf(at), ...stepOf(at) };
  if (bad !== undefined) {
    const stays = from === undefined ? "" : `; version ${from.version} serves on`;
    const reason = dead ? `version ${current.version} ${never(own)}: ${whyFailed(own.failed as ScaleReplica)}; ${whetherAgain(own.failed as ScaleReplica)}${stays}` : `version ${current.version} is worse: ${bad}`;
    return told(before, state, dead ? { ...at, wanted: frozen(at.wanted, current, from, own, desired) } : at, { ...place, state: "stuck", reason }, "hold");
  }
  const count = at.wanted.find(({ digest }) => digest === current.digest)?.count ?? 0;
  if (own.failed !== undefined && own.coming === 0 && own.ready < Math.min(count, own.placed) && at.over === undefined && !partial) {
    return told(before, state, at, { ...place, state: "stuck", reason: `${own.ready} of ${count} replicas of version ${current.version} are ready; ${whyFailed(own.failed)}; ${whetherAgain(own.failed)}` }, "hold");
  }
  return told(before, state, at, { ...place, state: at.over === "share" ? "done" : "progressing", reason: at.reason }, at.over === "share" ? "done" : "rollout");
}

/** What the service ran when no rollout was under way: by what is remembered, or by control, which may have seen a rollout end first. */
function stableOf(facts: RolloutFacts, before: RolloutState | undefined): RolloutState["stable"] {
  const { current, previous, replicas } = facts;
  if (before === undefined) return assumed(facts);
  const { stable, coming } = before;
  if (previous === undefined || previous.digest === stable.digest || previous.digest === current.digest) return stable;
  const tookOver = previous.digest === coming?.digest || current.digest !== stable.digest;
  return tookOver ? { ...previous, proven: ownOf(replicas, previous.digest).wasReady } : stable;
}

/** What the service ran before anyone remembers: the version before, unless the new one has taken its place already. */
function assumed({ current, previous, desired, replicas }: RolloutFacts): RolloutState["stable"] {
  const own = ownOf(replicas, current.digest);
  if (previous === undefined || previous.digest === current.digest) return { ...current, proven: own.wasReady };
  const old = ownOf(replicas, previous.digest);
  return own.ready > 0 && own.ready >= desired && old.alive === 0 ? { ...current, proven: true } : { ...previous, proven: true };
}

/** No rollout: the service runs what it ran, whatever its version is called. */
function settled({ current, desired, partial = false }: RolloutFacts, stable: RolloutState["stable"], own: Own, before: RolloutState | undefined): Rollout {
  const state = { stable };
  // until it is known to be good, somebody has to see it fail
  const nextMs = stable.proven || desired === 0 ? Number.POSITIVE_INFINITY : lookMs;
  // a first version that cannot start is not started more often because more are wanted
  if (!stable.proven && !partial && isDead(own)) {
    const reason = `version ${current.version} never got ready: ${whyFailed(own.failed as ScaleReplica)}; ${whetherAgain(own.failed as ScaleReplica)}`;
    return told(before, state, { wanted: [{ ...current, count: Math.min(desired, own.placed) }], nextMs }, { mode: "rolling", state: "stuck", version: current.version, reason }, "hold");
  }
  const at = { wanted: [{ ...current, count: desired }], nextMs };
  const left = before?.coming ?? before?.refused;
  if (left !== undefined) {
    return told(before, state, at, { mode: before?.status?.mode ?? "rolling", state: "done", version: current.version, from: left.version, reason: `version ${current.version} runs what version ${left.version} was to replace: nothing of it is restarted` }, "done");
  }
  if (before !== undefined && before.stable.version !== current.version) {
    return told(before, state, at, { mode: before.status?.mode ?? "rolling", state: "done", version: current.version, from: before.stable.version, reason: `version ${current.version} changes nothing that replicas run: none is restarted` }, "done");
  }
  // a first version that got ready after all was stuck before
  const status = before?.status?.state === "done" ? before.status : undefined;
  return { ...at, ...(status === undefined ? {} : { status }), state: { stable, ...(status === undefined ? {} : { status }) } };
}

/** Back to the version before. Nothing goes to the other one while its replicas live. */
function back({ current, desired, replicas }: RolloutFacts, from: VersionRef, before: RolloutState): Rollout {
  const { alive } = ownOf(replicas, current.digest);
  const { reason = "" } = before.refused ?? {};
  const shares = alive > 0 ? { shares: { [from.version]: 1 } } : {};
  const at = { wanted: [{ ...from, count: desired }], ...shares, nextMs: alive > 0 ? lookMs : Number.POSITIVE_INFINITY };
  const state: RolloutState = { stable: before.stable, ...(before.refused === undefined ? {} : { refused: before.refused }) };
  return told(before, state, at, { mode: before.status?.mode ?? "rolling", state: "rolled_back", version: current.version, from: from.version, ...shares, reason: `version ${current.version} was rolled back: ${reason}; version ${from.version} serves` }, "rollback");
}

/** The rollout goes on where it was; another version, or another way, begins anew. */
function continued(before: Coming | undefined, current: VersionRef, mode: Coming["mode"]): Coming {
  if (before?.digest === current.digest && before.mode === mode) return before.version === current.version ? before : { ...before, version: current.version };
  return { ...current, mode, step: 0 };
}

/** While a version cannot start, no more of it are started; the one before goes on as many as are wanted. */
function frozen(wanted: readonly Wanted[], current: VersionRef, from: VersionRef | undefined, { placed }: Own, desired: number): Wanted[] {
  const count = Math.min(wanted.find(({ digest }) => digest === current.digest)?.count ?? 0, placed);
  return [...(from === undefined ? [] : [{ ...from, count: desired }]), { ...current, count }];
}

const fromOf = (from: VersionRef | undefined): { from?: number } => (from === undefined ? {} : { from: from.version });
const sharesOf = ({ shares }: Pick<Stand, "shares">): { shares?: Record<string, number> } => (shares === undefined ? {} : { shares });
const stepOf = ({ step, steps }: Stand): { step?: number; steps?: number } => ({ ...(step === undefined ? {} : { step }), ...(steps === undefined ? {} : { steps }) });
const keptStatus = (before: RolloutState | undefined): { status?: RolloutStatus } => (before?.status === undefined ? {} : { status: before.status });

/** What of a status is news; how many replicas are ready is not. */
function newsOf({ mode, state, version, shares, step }: RolloutStatus): string {
  return JSON.stringify([mode, state, version, shares, step]);
}

function told(before: RolloutState | undefined, state: RolloutState, { wanted, shares, nextMs }: Pick<Stand, "wanted" | "shares" | "nextMs">, status: RolloutStatus, action: ScaleDecision["action"]): Rollout {
  const isNews = before?.status === undefined || newsOf(before.status) !== newsOf(status);
  return { wanted, ...(shares === undefined ? {} : { shares }), status, ...(isNews ? { action: { action, reason: status.reason } } : {}), state: { ...state, status }, nextMs };
}
