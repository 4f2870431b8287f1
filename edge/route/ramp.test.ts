import { describe, expect, test } from "vitest";
import { routeServiceSchema, type RouteService } from "../../schema/bundle.ts";
import { seeded } from "../../schema/clock.ts";
import type { ReplicaRow } from "./candidates.ts";
import { Observed } from "./observed.ts";
import { poolOf } from "./pool.ts";
import { requestFacts, type RequestFacts } from "./request.ts";
import { route } from "./route.ts";

const streamed = (bytes = 400): RequestFacts => requestFacts({ stream: true }, bytes, "default");
const whole = (bytes = 400): RequestFacts => requestFacts({}, bytes, "default");

interface Said {
  id?: string;
  since?: number;
  running?: number;
  queueDepth?: number;
  readAt?: number;
}

/** The rows of a view; readings are there where something is said of them. */
function rows(takenAt: number, ...all: Said[]): ReplicaRow[] {
  return all.map(({ id = "chat.local.1", since = takenAt, running, queueDepth, readAt = takenAt }) => ({
    takenAt,
    replica: { id, service: "chat", number: 1, version: 1, phase: "ready", host: "h", since, inFlight: 0, ...(running === undefined ? {} : { load: { running, queueDepth: queueDepth ?? 0 } }) },
    host: { id: "h", relays: [0], heardAt: readAt, linkUp: true, draining: false },
  }));
}

/** An engine on virtual time: so many at once, the others wait in it, in their order. */
class Engine {
  readonly #slots: number;
  readonly #decodeMs: number;
  readonly #prefillMs: number;
  readonly #running: number[] = [];
  readonly #queue: { sentAt: number; request: RequestFacts }[] = [];
  readonly #observed: Observed;
  readonly #id: string;
  /** Of those that have a first token, how long it took. */
  readonly ttfts: { at: number; ms: number }[] = [];
  #events: { at: number; run: (now: number) => void }[] = [];

  constructor(observed: Observed, id: string, { slots, prefillMs, decodeMs }: { slots: number; prefillMs: number; decodeMs: number }) {
    this.#observed = observed;
    this.#id = id;
    this.#slots = slots;
    this.#prefillMs = prefillMs;
    this.#decodeMs = decodeMs;
  }

  get said(): Pick<Said, "running" | "queueDepth"> {
    return { running: this.#running.length, queueDepth: this.#queue.length };
  }

  send(now: number, request: RequestFacts): void {
    this.#observed.started(this.#id, now, request);
    this.#queue.push({ sentAt: now, request });
    this.#admit(now);
  }

  #admit(now: number): void {
    while (this.#running.length < this.#slots) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#running.push(now);
      const { sentAt, request: { stream } } = next;
      const first = now + this.#prefillMs;
      this.#events.push({ at: first, run: (at) => { this.ttfts.push({ at, ms: at - sentAt }); if (stream) this.#observed.firstByte(this.#id, at - sentAt, at); } });
      this.#events.push({ at: first + this.#decodeMs, run: (at) => { if (!stream) this.#observed.answered(this.#id, at); this.#observed.ended(this.#id, at); this.#running.pop(); this.#admit(at); } });
    }
  }

  run(now: number): void {
    for (;;) {
      this.#events.sort((a, b) => a.at - b.at);
      if ((this.#events[0]?.at ?? Number.POSITIVE_INFINITY) > now) return;
      const event = this.#events.shift();
      event?.run(event.at);
    }
  }
}

interface Played {
  /** Shares of the requests that the replica took, second by second. */
  taken: number[];
  /** Of them, how much later than an idle engine's their first tokens were, in ms. */
  addedMs: number[];
  limit: number | undefined;
}

/** A replica gets ready under a steady demand; what it may not take goes elsewhere. */
function play({ slots, perSecond, seconds, decodeMs = 4_000, prefillMs = 100, make = streamed, says = true }: { slots: number; perSecond: number; seconds: number; decodeMs?: number; prefillMs?: number; make?: () => RequestFacts; says?: boolean }): Played {
  const observed = new Observed();
  const engine = new Engine(observed, "chat.local.1", { slots, prefillMs, decodeMs });
  const random = seeded(7);
  const taken: number[] = [];
  let view = rows(0, { since: 0 });
  observed.ramps.full(poolOf([]), observed.inFlight, 0);
  let [next, came, took] = [0, 0, 0];
  for (let now = 0; now < seconds * 1_000; now += 5) {
    engine.run(now);
    // an agent's heartbeat, and a view's refresh
    if (now % 5_000 === 0) view = rows(now, { since: 0, ...(says ? engine.said : {}) });
    for (; next <= now; next += (-Math.log(1 - random()) * 1_000) / perSecond) {
      came++;
      if (observed.ramps.full(poolOf(view), observed.inFlight, now)?.has("chat.local.1") === true) continue;
      took++;
      engine.send(now, make());
    }
    if (now % 1_000 === 995) {
      taken.push(took / Math.max(1, came));
      [came, took] = [0, 0];
    }
  }
  return { taken, addedMs: engine.ttfts.map(({ ms }) => ms - prefillMs), limit: observed.ramps.limitOf("chat.local.1") };
}

const mean = (list: readonly number[]): number => list.reduce((sum, one) => sum + one, 0) / list.length;
const shareOver = (list: readonly number[], bound: number): number => list.filter((one) => one > bound).length / list.length;
const ids = (full: ReadonlySet<string> | undefined): string[] => [...(full ?? [])].sort();

describe("Ramps: what a new replica takes", () => {
  const engines = [{ slots: 2, perSecond: 5 }, { slots: 8, perSecond: 10 }, { slots: 16, perSecond: 20 }, { slots: 48, perSecond: 50 }, { slots: 16, perSecond: 20, prefillMs: 900 }, { slots: 16, perSecond: 200, decodeMs: 500 }];
  const possible = ({ slots, perSecond, prefillMs = 100, decodeMs = 4_000 }: (typeof engines)[number]): number => (slots * 1_000) / (prefillMs + decodeMs) / perSecond;

  test.each(engines)("of far more streams than it can: nearly what it can, and hardly one waits in it ($slots at once, $perSecond/s)", (engine) => {
    const { taken, addedMs } = play({ ...engine, seconds: 120 });
    expect(mean(taken.slice(60)) / possible(engine)).toBeGreaterThan(0.75);
    expect(shareOver(addedMs, 300)).toBeLessThan(0.2);
    // of all that came, with those that went elsewhere
    expect((shareOver(addedMs, 300) * addedMs.length) / (120 * engine.perSecond)).toBeLessThan(0.025);
  });

  test.each(engines)("of far more answers that are not streamed: nearly what it can, by its engine's word ($slots at once, $perSecond/s)", (engine) => {
    const { taken, addedMs } = play({ ...engine, seconds: 120, make: whole });
    expect(mean(taken.slice(60)) / possible(engine)).toBeGreaterThan(0.75);
    expect(shareOver(addedMs, engine.decodeMs ?? 4_000)).toBeLessThan(0.1);
  });

  test.each([{ make: streamed, says: true, within: 3 }, { make: streamed, says: false, within: 3 }, { make: whole, says: true, within: 30 }, { make: whole, says: false, within: 30 }])("of no more than it can: all of it, within $within s, and then it is like any other (%o)", ({ make, says, within }) => {
    const { taken, addedMs, limit } = play({ slots: 64, perSecond: 8, seconds: 180, make, says });
    expect(taken.slice(within).every((share) => share === 1)).toBe(true);
    expect([Math.max(...addedMs), limit]).toEqual([0, undefined]);
  });
});

describe("Ramps: limits", () => {
  const one = "chat.local.1";
  const pool = (takenAt: number, ...all: Said[]): ReturnType<typeof poolOf> => poolOf(rows(takenAt, ...all));
  /** A new replica, and an isolate that was there before it. */
  function fresh(): { observed: Observed; full: (now: number, ...said: Said[]) => string[] } {
    const observed = new Observed();
    observed.ramps.full(pool(0), observed.inFlight, 0);
    return { observed, full: (now, ...said) => ids(observed.ramps.full(pool(now, ...said), observed.inFlight, now)) };
  }

  test("begin at two, and double with first tokens that are in time", () => {
    const { observed, full } = fresh();
    full(10, {});
    const limits: (number | undefined)[] = [];
    for (let now = 10; now < 50; now += 10) {
      const limit = observed.ramps.limitOf(one) ?? 0;
      for (let i = observed.inFlight(one); i < limit; i++) observed.started(one, now, streamed());
      limits.push(limit);
      expect(full(now, {})).toEqual([one]);
      for (let i = 0; i < limit; i++) observed.firstByte(one, 0, now);
    }
    expect(limits).toEqual([2, 6, 14, 30]);
  });

  test("are for replicas that this isolate saw come, whatever their clock says, and for those that say they are new", () => {
    const looks = (since: number, lookedAt?: number): number => {
      const { ramps, inFlight } = new Observed();
      if (lookedAt !== undefined) ramps.full(pool(lookedAt), inFlight, lookedAt);
      ramps.full(pool(1_000_000, { since }), inFlight, 1_000_000);
      return ramps.size;
    };
    expect([looks(1_000_000 - 59_000), looks(1_000_000 - 61_000), looks(1_000_000 - 61_000, 995_000), looks(1_000_000 - 61_000, 900_000)]).toEqual([1, 0, 1, 0]);
  });

  test("a stream that is silent for longer than its like closes its replica until it speaks", () => {
    const { observed, full } = fresh();
    full(0, {});
    observed.started(one, 0, streamed());
    observed.firstByte(one, 100, 100);
    observed.started(one, 200, streamed());
    expect([full(450, {}), full(451, {})]).toEqual([[], [one]]);
    observed.firstByte(one, 400, 600);
    expect(full(600, {})).toEqual([]);
  });

  test("longer prompts may take longer, in proportion", () => {
    const { observed, full } = fresh();
    full(0, {});
    observed.started(one, 0, streamed(400));
    observed.firstByte(one, 100, 100);
    observed.started(one, 1_000, streamed(4_000));
    expect([full(2_600, {}), full(2_601, {})]).toEqual([[], [one]]);
  });

  /** One after the other, so many pairs sent together: the second is told its first token so much later than the first. */
  function pairs(observed: Observed, count: number, laterMs: number): void {
    for (let i = 0; i < count; i++) {
      const now = i * 1_000;
      observed.started(one, now, streamed(2_000));
      observed.started(one, now + 1, streamed(2_000));
      observed.firstByte(one, 100, now + 100);
      observed.firstByte(one, 100 + laterMs, now + 101 + laterMs);
      observed.ended(one, now + 600);
      observed.ended(one, now + 600);
    }
  }

  test.each([[100, [one]], [0, []]])("prompts that are being read close it, where each was seen to hold up the next by %i ms", (laterMs, expected) => {
    const { observed, full } = fresh();
    full(0, {});
    pairs(observed, 5, laterMs);
    for (let i = 0; i < 3; i++) observed.started(one, 10_000 + i, streamed(2_000));
    expect([observed.ramps.limitOf(one), full(10_010, {})]).toEqual([6, []]);
    observed.started(one, 10_011, streamed(2_000));
    expect(full(10_012, {})).toEqual(expected);
  });

  test.each<[string, Said, number]>([["one that says that nothing waits", { running: 3, queueDepth: 0 }, 6], ["one that says nothing", {}, 4]])("too many late first tokens of the latest eight cut it, of %s", (_name, said, many) => {
    const limits = (late: number): number => {
      const { observed, full } = fresh();
      full(0, said);
      for (let i = 0; i < 24; i++) {
        const now = 1_000 * i;
        full(now, said);
        while (observed.inFlight(one) < 8) observed.started(one, now - 500, streamed());
        observed.started(one, now, streamed());
        // the first sixteen are in time
        observed.firstByte(one, i >= 16 && i - 16 < late ? 900 : 100, now + (i >= 16 && i - 16 < late ? 900 : 100));
        observed.ended(one, now + 950);
      }
      return observed.ramps.limitOf(one) ?? 0;
    };
    const grown = limits(0);
    expect([limits(many - 1) < grown / 1.5, limits(8) < grown / 1.5]).toEqual([false, true]);
  });

  test("no replica is new for longer than five minutes, however it does", () => {
    const { observed, full } = fresh();
    full(0, {});
    for (let now = 0; now <= 300_000; now += 10_000) {
      while (full(now, {}).length === 0) observed.started(one, now, streamed());
      expect(observed.ramps.size).toBe(1);
    }
    expect(full(300_001, {})).toEqual([]);
  });

  test("an engine whose like take longer than they did is believed again, after a while at the least", () => {
    const { observed, full } = fresh();
    full(0, {});
    let refused = 0;
    for (let now = 0; now < 60_000; now += 1_000) {
      if (full(now, {}).length > 0) refused++;
      else observed.started(one, now, streamed());
      const ttft = now < 10_000 ? 100 : 900;
      if (observed.inFlight(one) === 0) continue;
      observed.firstByte(one, ttft, now + ttft);
      observed.ended(one, now + ttft);
    }
    expect(refused).toBeLessThan(5);
  });

  test("what has gone, or has not been at its limit for a minute, is limited no more", () => {
    const { observed, full } = fresh();
    full(0, {}, { id: "chat.local.2" });
    expect(observed.ramps.size).toBe(2);
    full(1_000, {});
    expect(observed.ramps.size).toBe(1);
    full(60_000, {});
    expect(observed.ramps.limitOf(one)).toBe(2);
    full(60_001, {});
    expect(observed.ramps.size).toBe(0);
  });

  test("a request that ends without a first token is waited for no more", () => {
    const { observed, full } = fresh();
    full(0, {});
    observed.started(one, 0, streamed());
    observed.firstByte(one, 50, 50);
    observed.ended(one, 60);
    observed.started(one, 100, streamed());
    observed.ended(one, 5_000);
    expect(full(5_000, {})).toEqual([]);
  });

  test("fit() counts room on all replicas of a service; one that is not new has room", () => {
    const { observed } = fresh();
    const fit = (count: number, now: number, ...said: Said[]): boolean => observed.ramps.fit(count, pool(now, ...said), observed.inFlight, now);
    expect([1, 2, 3].map((count) => fit(count, 1, {}))).toEqual([true, true, false]);
    observed.started(one, 2, streamed());
    expect([1, 3, 4].map((count) => fit(count, 2, {}, { id: "chat.local.2" }))).toEqual([true, true, false]);
    expect(fit(1, 3)).toBe(false);
    observed.ramps.forget();
    expect([observed.ramps.size, fit(99, 100_000, { since: 0 })]).toEqual([0, true]);
  });
});

test("route() sends what a replica may not take to who covers for it; without cover the replica is still the last resort", () => {
  const service = (providers: unknown[]): RouteService => routeServiceSchema.parse({ name: "chat", version: 1, models: ["chat"], listed: true, createdAt: 0, selfHosted: true, timeouts: { ttftMs: 1, totalMs: 1 }, bodyBytesMax: 1, providers });
  const covered = service([{ name: "vendor", endpoint: "https://a.example/v1", dialect: "openai", fallback: true }]);
  const two = rows(0, {}, { id: "chat.local.2" });
  const order = (of: RouteService, ...full: string[]): string[] => route({ service: of, replicas: two, full: new Set(full) }, seeded(1), 0).candidates.map(({ id }) => id);
  expect(order(covered, "chat.local.1")).toEqual(["chat.local.2", "vendor", "chat.local.1"]);
  expect(order(covered, "chat.local.1", "chat.local.2")[0]).toBe("vendor");
  expect(order(service([]), "chat.local.1", "chat.local.2", "chat.local.3")).toHaveLength(2);
});
