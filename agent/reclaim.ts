import { Agent as HttpAgent, request } from "undici";
import type { Clock } from "../schema/clock.ts";
import type { Log } from "./log.ts";
import { alibaba } from "./reclaim/alibaba.ts";
import { aws } from "./reclaim/aws.ts";
import { azure } from "./reclaim/azure.ts";
import { gcp } from "./reclaim/gcp.ts";
import { askKind, type CloudKind } from "./reclaim/kind.ts";
import { planOf, soonest, timeOf, type Answer, type Cloud, type Notice, type Question, type Watch } from "./reclaim/notice.ts";
import type { Cancel, Timers } from "./timers.ts";

export const clouds = ["aws", "gcp", "azure", "alibaba"] as const;
export type CloudName = (typeof clouds)[number];
const known: Record<CloudName, Cloud> = { aws, gcp, azure, alibaba };

export interface ReclaimOptions {
  /** Whose notices are watched; `auto` finds out. */
  cloud: CloudName | "auto" | "none";
  /** In place of the cloud's own address. */
  baseUrl?: string | undefined;
  /** The notice in force, each time it changes; undefined: there is none any more. */
  onNotice: (notice: Notice | undefined) => void;
  /** What the cloud says of this machine, once. */
  onKind?: (kind: CloudKind) => void;
  clock: Clock;
  timers: Timers;
  log: Log;
  /** How a question is put. */
  ask?: Ask;
}

/** @returns undefined: no answer in time */
export type Ask = (base: string, question: Question, signal: AbortSignal) => Promise<Answer | undefined>;

/** Which cloud this is is asked so often: an agent may be up before its network is. */
const probesMs = [0, 5_000, 30_000];

/** A `date` header has whole seconds, and an answer takes its time: less is no skew. */
const skewMsMin = 5_000;

/** More than any answer here has. */
const bodyBytesMax = 256 * 1024;

/** Watches what the cloud says of this host's end, until closed. */
export function watchReclaim({ cloud, baseUrl, onNotice, onKind, clock, timers, log, ask = overHttp }: ReclaimOptions): { close(): void } {
  const closing = new AbortController();
  const notices = new Map<Watch, Notice>();
  let told: Notice | undefined;

  const planned = new Set<Cancel>();

  const later = (ms: number, action: () => Promise<void>): void => {
    const cancel = timers.after(ms, () => {
      planned.delete(cancel);
      void action();
    });
    planned.add(cancel);
  };
  const tell = (): void => {
    const notice = soonest(notices.values());
    if (JSON.stringify(notice) === JSON.stringify(told)) return;
    told = notice;
    onNotice(notice);
  };

  function follow({ base }: Cloud, watch: Watch): void {
    let problem: string | undefined;
    const turn = async (question: Question): Promise<void> => {
      const answer = await ask(baseUrl ?? base, question, closing.signal);
      if (closing.signal.aborted) return;
      // this host's clock may be wrong by more than the time that is left: a service that tells its own is believed
      const now = clock.now();
      const theirs = timeOf(answer?.header("date")) ?? now;
      const skewMs = Math.abs(now - theirs) < skewMsMin ? 0 : now - theirs;
      const reading = watch.read(answer, question, now - skewMs);
      // the same trouble is told once
      if (reading.problem !== undefined && reading.problem !== problem) log.warn("spot notices cannot be read", { watch: watch.name, problem: reading.problem });
      if (reading.problem === undefined && problem !== undefined && reading.notice !== undefined) log.info("spot notices can be read again", { watch: watch.name });
      if (reading.problem !== undefined || reading.notice !== undefined) problem = reading.problem;
      if (reading.notice) notices.set(watch, steady(notices.get(watch), shifted(reading.notice, skewMs)));
      else if (reading.notice === null) notices.delete(watch);
      tell();
      later(reading.afterMs, () => turn(reading.next));
    };
    void turn(watch.first);
  }

  async function detect(tried: number): Promise<void> {
    const answers = await Promise.all(clouds.map((name) => ask(baseUrl ?? known[name].base, known[name].probe, closing.signal)));
    if (closing.signal.aborted) return;
    const found = clouds.find((_, i) => {
      const answer = answers[i];
      return answer !== undefined && known[clouds[i] as CloudName].is(answer);
    });
    if (found !== undefined) return begin(found);
    const next = probesMs[tried + 1];
    if (next === undefined) log.info("this host is on no cloud whose spot notices are known: only SIGTERM drains it");
    else later(next, () => detect(tried + 1));
  }

  function begin(name: CloudName): void {
    log.info("spot notices are watched", { cloud: name });
    for (const watch of known[name].watches) follow(known[name], watch);
    if (onKind !== undefined) void askKind(name, (question) => ask(baseUrl ?? known[name].base, question, closing.signal)).then((kind) => closing.signal.aborted || onKind(kind));
  }

  if (cloud === "auto") void detect(0);
  else if (cloud !== "none") begin(cloud);
  return {
    close() {
      closing.abort();
      for (const cancel of planned) cancel();
    },
  };
}

function shifted(notice: Notice, skewMs: number): Notice {
  return notice.at === undefined ? notice : { ...notice, at: notice.at + skewMs };
}

/** The same notice, told again with a time that is off by a rounding, is no news. */
function steady(before: Notice | undefined, notice: Notice): Notice {
  return before?.reason === notice.reason && Math.abs((before.at ?? 0) - (notice.at ?? 0)) < skewMsMin ? before : notice;
}

export interface HeedOptions extends Omit<ReclaimOptions, "onNotice"> {
  /** What requests in flight are waited for, at most. */
  drainMs: number;
  /** From SIGTERM to SIGKILL of a replica. */
  killAfterMs: number;
  replicas: { reclaim(reason: string | undefined): void; leave(drainMs: number): Promise<void> };
  /** A hub should hear of it soon. */
  onChange: () => void;
}

export interface Reclaim {
  readonly notice: Notice | undefined;
  /** Whether the time has come at which nothing new is taken. */
  readonly draining: boolean;
  close(): void;
}

/**
 * Acts on the notices: the hub hears of one at once, so that replacements start while this host still serves; what is here when the
 * time comes is drained, and ends before the host does.
 */
export function heedReclaim({ drainMs, killAfterMs, replicas, onChange, ...options }: HeedOptions): Reclaim {
  const { clock, timers, log } = options;
  let notice: Notice | undefined;
  let draining = false;
  let cancel: Cancel | undefined;
  const watching = watchReclaim({
    ...options,
    onNotice(told) {
      cancel?.();
      notice = told;
      replicas.reclaim(told?.reason);
      if (told === undefined) {
        log.info("this host is no longer taken back");
        draining = false;
      } else {
        const plan = planOf(told, clock.now(), { drainMs, killAfterMs });
        log.warn("this host is taken back", { ...told, ...plan });
        if (plan !== undefined) cancel = timers.after(plan.drainAt - clock.now(), () => drain(plan.drainMs));
      }
      onChange();
    },
  });
  const drain = (ms: number): void => {
    draining = true;
    log.info("host drains", { atMostMs: ms });
    onChange();
    void replicas.leave(ms);
  };
  return {
    get notice() {
      return notice;
    },
    get draining() {
      return draining;
    },
    close() {
      cancel?.();
      watching.close();
    },
  };
}

/** No proxy is asked, whatever the environment says, and no redirect followed: what answers is this machine's own. */
const direct = new HttpAgent();

async function overHttp(base: string, { method, path, headers, timeoutMs }: Question, signal: AbortSignal): Promise<Answer | undefined> {
  const ending = new AbortController();
  const end = (): void => ending.abort();
  const timer = setTimeout(end, timeoutMs);
  signal.addEventListener("abort", end);
  try {
    const response = await request(base + path, { method, headers, dispatcher: direct, signal: ending.signal, headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
    let body = "";
    const decoder = new TextDecoder();
    for await (const chunk of response.body) {
      body += decoder.decode(chunk as Uint8Array, { stream: true });
      if (body.length > bodyBytesMax) return undefined;
    }
    return { status: response.statusCode, body, header: (name) => [response.headers[name]].flat()[0] };
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}
