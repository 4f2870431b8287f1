import { describe, expect, test } from "vitest";
import { FairleadError } from "../../schema/errors.ts";
import { providerSchema } from "../../schema/bundle.ts";
import { seeded } from "../../schema/clock.ts";
import { replicaRow } from "../../test/replicaRow.ts";
import { providerCandidate, type Candidate } from "../route/candidates.ts";
import { Observed } from "../route/observed.ts";
import { Flights } from "./flights.ts";
import { attemptInTurn, type Course, type Remembered } from "./attempts.ts";
import { RetryBudget } from "./budget.ts";
import type { Failure, Outcome } from "./outcome.ts";
import { Standings } from "./standing.ts";

const error = new FairleadError("provider_error", "Cannot");
const unable = (status: number): Failure => ({ kind: "unable", status, error });
const throttled = (retryAfterMs?: number): Failure => ({ kind: "throttled", retryAfterMs, error });
const lost: Failure = { kind: "lost", why: "reset" };
const unsent: Failure = { kind: "unsent", why: "no_agent" };
const good: Outcome<string> = { kind: "answer", answer: "good" };

function provider(name: string, fallback = false, contextWindow?: number): Candidate {
  return providerCandidate(providerSchema.parse({ name, endpoint: "https://vendor.test/v1", dialect: "openai", fallback, contextWindow }));
}

function replica(id: string): Candidate {
  return { kind: "replica", id, upstream: "replicas", weight: 1, fallback: false, price: undefined, contextWindow: undefined, continuation: "none", version: 1, host: "h", relays: [0], load: 0 };
}

/** A world of upstreams that answer after a time, on virtual time. */
class Vendors {
  now = 0;
  asked: string[] = [];
  abandoned: string[] = [];
  waits: number[] = [];
  readonly observed = new Observed();
  readonly remembered: Remembered = { budget: new RetryBudget(), standings: new Standings(), observed: this.observed, flights: new Flights(this.observed) };
  #due: { at: number; fire: () => void }[] = [];
  readonly candidates: Candidate[];
  readonly answer: (id: string, nth: number) => { outcome: Outcome<string>; ms?: number };
  readonly #random = seeded(1);

  constructor(candidates: Candidate[], answer: Vendors["answer"]) {
    this.candidates = candidates;
    this.answer = answer;
  }

  after(ms: number): Promise<void> {
    return new Promise((resolve) => this.#due.push({ at: this.now + ms, fire: resolve }));
  }

  /** Let time pass until this is done. */
  async until<T>(work: Promise<T>): Promise<T> {
    const state = { done: false };
    const finish = work.finally(() => (state.done = true));
    for (let calm = 0; !state.done && calm < 1_000; calm++) {
      for (let i = 0; i < 20; i++) await Promise.resolve();
      const next = this.#due.sort((a, b) => a.at - b.at)[0];
      if (state.done || next === undefined) continue;
      this.#due.shift();
      this.now = Math.max(this.now, next.at);
      next.fire();
    }
    return finish;
  }

  course(more: Partial<Course<string>> = {}): Course<string> {
    return {
      candidates: this.candidates,
      upstreams: {
        replicas: this.candidates.flatMap(({ kind, id }) => (kind === "replica" ? [replicaRow(id)] : [])),
        providers: this.candidates.flatMap(({ kind, id }) => (kind === "provider" ? [{ name: id }] : [])),
      },
      path: "/v1/chat/completions",
      repeatable: true,
      stream: false,
      attemptsMax: 3,
      ttftMs: 1_000,
      endsAt: this.now + 60_000,
      hedgeAfterMs: undefined,
      largerContext: false,
      remembered: this.remembered,
      now: () => this.now,
      random: this.#random,
      wait: (ms) => (this.waits.push(ms), this.after(ms)),
      send: ({ id }, limitMs) => {
        const nth = this.asked.filter((one) => one === id).length;
        this.asked.push(id);
        const { outcome, ms = 5 } = this.answer(id, nth);
        const result = this.after(Math.min(ms, limitMs)).then((): Outcome<string> => (ms > limitMs ? { kind: "timeout", why: "late" } : outcome));
        return { result, abandon: () => void this.abandoned.push(id) };
      },
      gone: () => false,
      ...more,
    };
  }

  ask(more: Partial<Course<string>> = {}): ReturnType<typeof attemptInTurn<string>> {
    return this.until(attemptInTurn(this.course(more)));
  }
}

/** Each upstream's outcomes, in turn; good after them. */
function vendors(candidates: Candidate[], outcomes: Record<string, Outcome<string>[]>): Vendors {
  return new Vendors(candidates, (id, nth) => ({ outcome: outcomes[id]?.[nth] ?? good }));
}

const two = [provider("a"), provider("b")];

describe("attemptInTurn(): what goes elsewhere", () => {
  test.each<[string, Failure[], string[]]>([
    ["502", [unable(502)], ["a", "b"]],
    ["503", [unable(503)], ["a", "b"]],
    ["500: once more on the same provider first", [unable(500), unable(500)], ["a", "a", "b"]],
    ["409: once more on the same provider first", [unable(409), unable(409)], ["a", "a", "b"]],
    ["a lost connection", [lost], ["a", "b"]],
    ["no carriage", [unsent], ["a", "b"]],
    ["silence", [{ kind: "timeout", why: "" }], ["a", "b"]],
    ["a refused credential", [{ kind: "credential", status: 401, error }], ["a", "b"]],
    ["429 that says nothing", [throttled()], ["a", "b"]],
    ["429 with a time longer than a request waits", [throttled(2_501)], ["a", "b"]],
  ])("%s", async (_, failures, asked) => {
    const world = vendors(two, { a: failures });
    expect(await world.ask()).toMatchObject({ answer: "good", candidate: { id: "b" } });
    expect(world.asked).toEqual(asked);
  });

  test.each<Failure["kind"]>(["caller", "context_length", "content_filter"])("what is the caller's fault goes nowhere: %s", async (kind) => {
    const world = vendors(two, { a: [{ kind, error } as Failure] });
    expect(await world.ask()).toMatchObject({ failure: { kind }, attempts: [{ id: "a", outcome: kind }] });
    expect(world.asked).toEqual(["a"]);
  });

  const tooLong: Failure = { kind: "context_length", error };
  test.each<[string, Candidate[], boolean, string[], boolean]>([
    ["to one with a larger window, past one with the same", [provider("a", false, 8_192), provider("b", false, 8_192), provider("c", true, 131_072)], true, ["a", "c"], true],
    ["to nobody whose window is not known", [provider("a", false, 8_192), provider("b")], true, ["a"], false],
    ["nowhere when it is not known how large the first is", [provider("a"), provider("c", false, 131_072)], true, ["a"], false],
    ["nowhere without the policy", [provider("a", false, 8_192), provider("c", false, 131_072)], false, ["a"], false],
    ["to ever larger ones", [provider("a", false, 8_192), provider("b", false, 32_768), provider("c", true, 131_072)], true, ["a", "b", "c"], true],
  ])("what is too long goes %s", async (_, candidates, largerContext, asked, answered) => {
    const world = vendors(candidates, { a: [tooLong], b: [tooLong] });
    const budget = world.remembered.budget.left;
    expect(await world.ask({ largerContext })).toMatchObject(answered ? { candidate: { id: "c" } } : { failure: tooLong });
    expect(world.asked).toEqual(asked);
    expect(world.remembered.budget.left).toBe(budget);
  });

  test("what cannot be repeated goes elsewhere only when it cannot have begun", async () => {
    const sent = vendors(two, { a: [lost] });
    expect(await sent.ask({ repeatable: false })).toMatchObject({ failure: lost });
    const not = vendors(two, { a: [unsent] });
    expect(await not.ask({ repeatable: false })).toMatchObject({ answer: "good" });
  });

  test("the same replica is never asked twice", async () => {
    const world = vendors([replica("r1"), replica("r2")], { r1: [unable(500), good], r2: [throttled(100), good] });
    expect(await world.ask({ attemptsMax: 10 })).toMatchObject({ failure: { kind: "throttled" } });
    expect(world.asked).toEqual(["r1", "r2"]);
  });

  describe("a replica whose host is silent for a moment", () => {
    const silent: Failure = { kind: "unsent", why: "no_ack: ", silent: "host" };
    const still = (...ids: string[]) => async () => ids.map((id) => replica(id));

    test("is asked again after a pause when nobody else is left, for nothing has begun", async () => {
      const world = vendors([replica("only")], { only: [silent, silent] });
      expect(await world.ask({ again: still("only") })).toMatchObject({ answer: "good", attempts: [{ outcome: "unsent" }, { outcome: "unsent" }, { outcome: "answer" }] });
      expect(world.waits).toEqual([500, 1_000]);
    });

    test("is asked no more often than a request is tried", async () => {
      const world = vendors([replica("only")], { only: [silent, silent, silent, silent] });
      expect(await world.ask({ again: still("only") })).toMatchObject({ failure: silent });
      expect(world.asked).toEqual(["only", "only", "only"]);
    });

    test("is not asked again while another can be, or one that has come since", async () => {
      const world = vendors([replica("a"), replica("b")], { a: [silent], b: [silent] });
      expect(await world.ask({ attemptsMax: 6, again: still("a", "b", "fresh") })).toMatchObject({ answer: "good", candidate: { id: "fresh" } });
      expect(world.asked).toEqual(["a", "b", "fresh"]);
      expect(world.waits).toEqual([]);
    });

    test("is not asked again when the news have it no more, when its client has gone, when time is over, or where there are no news", async () => {
      const world = (more: Partial<Course<string>>) => vendors([replica("only")], { only: [silent] }).ask({ again: still("only"), ...more });
      expect(await world({ again: still() })).toMatchObject({ failure: silent });
      expect(await world({ gone: () => true })).toMatchObject({ failure: silent });
      expect(await world({ endsAt: 400 })).toMatchObject({ failure: silent });
      expect(await vendors([replica("only")], { only: [silent] }).ask()).toMatchObject({ failure: silent });
    });
  });

  test("attempts are told in order, with what became of each and how long it took", async () => {
    const world = vendors([provider("a"), provider("b"), provider("c")], { a: [unable(503)], b: [lost] });
    expect((await world.ask()).attempts).toEqual([{ id: "a", outcome: "unable", ms: 5 }, { id: "b", outcome: "lost", ms: 5 }, { id: "c", outcome: "answer", ms: 5 }]);
  });

  test.each<[string, Failure, Candidate[]]>([
    ["could not be reached", unsent, [replica("gone")]],
    ["was lost", lost, [replica("gone")]],
    ["was lost, and the provider after it", lost, [replica("gone"), provider("vendor")]],
  ])("when all that was known %s, news is asked for once", async (_, failure, known) => {
    let asked = 0;
    const again = async (news: Candidate[]): Promise<Candidate[]> => (asked++, news);
    const world = vendors(known, { gone: [failure], vendor: [failure], fresh: [failure] });
    expect(await world.ask({ attemptsMax: 6, again: () => again([replica("gone"), replica("fresh")]) })).toMatchObject({ failure, attempts: [...known, {}].map(() => ({})) });
    expect(world.asked).toEqual([...known.map(({ id }) => id), "fresh"]);
    expect(asked).toBe(1);
  });

  test.each<[string, Failure, Partial<Course<string>>, Candidate]>([
    ["of what may not be repeated", lost, { repeatable: false }, replica("gone")],
    ["after the last attempt", lost, { attemptsMax: 1 }, replica("gone")],
    ["of a service that has no replicas", lost, {}, provider("vendor")],
    ["of a replica that answered", unable(503), {}, replica("there")],
  ])("no news is asked for %s", async (_, failure, more, known) => {
    const world = vendors([known], { [known.id]: [failure, failure] });
    const again = async (): Promise<Candidate[]> => expect.fail("asked");
    expect(await world.ask({ again, ...more })).toMatchObject({ failure });
  });

  test("a request that all others have failed is sent past the breaker of what is left", async () => {
    const path = "/v1/chat/completions";
    const world = vendors([replica("a"), replica("b")], { a: [unsent], b: [unsent] });
    const { standings } = world.remembered;
    for (let i = 0; i < 3; i++) standings.failed("left", path, lost, world.now, world.now, () => 0.5);
    const upstreams = { replicas: ["a", "b", "left"].map((id) => replicaRow(id)), providers: [] };
    // as routing does it
    const again = async (tried: readonly string[]): Promise<Candidate[]> => [replica("left")].filter(({ id }) => standings.survey(upstreams, path, world.now, tried)?.blocked.has(id) !== true);
    expect(await again([])).toEqual([]);
    expect(await world.ask({ upstreams, again })).toMatchObject({ answer: "good" });
    expect(world.asked).toEqual(["a", "b", "left"]);
  });

  test("nobody asks on for a client that has gone", async () => {
    const world = vendors(two, { a: [lost] });
    expect(await world.ask({ gone: () => world.asked.length > 0 })).toMatchObject({ failure: lost });
    expect(world.asked).toEqual(["a"]);
  });
});

describe("attemptInTurn(): Retry-After", () => {
  test("the common two seconds are waited for, on the same provider, before a fallback is used", async () => {
    const world = vendors([provider("a"), provider("b", true)], { a: [throttled(2_000)] });
    expect(await world.ask()).toMatchObject({ candidate: { id: "a" } });
    expect(world.waits).toEqual([2_000]);
  });

  test("one of the same rank that is free is better than waiting", async () => {
    const world = vendors(two, { a: [throttled(2_000)] });
    expect(await world.ask()).toMatchObject({ candidate: { id: "b" } });
    expect(world.waits).toEqual([]);
  });

  test("a wait is kept once", async () => {
    const world = vendors([provider("a")], { a: [throttled(1_000), throttled(1_000)] });
    expect(await world.ask({ attemptsMax: 10 })).toMatchObject({ failure: { kind: "throttled" } });
    expect(world.asked).toEqual(["a", "a"]);
  });

  test("a wait that reaches past the deadline is not begun", async () => {
    const world = vendors([provider("a")], { a: [throttled(2_000)] });
    expect(await world.ask({ endsAt: 1_500 })).toMatchObject({ failure: { kind: "throttled" } });
    expect(world.now).toBeLessThan(100);
  });
});

describe("attemptInTurn(): bounds", () => {
  const many = Array.from({ length: 12 }, (_, i) => provider(`p${i}`));
  const all = (failure: Failure): Vendors => new Vendors(many, () => ({ outcome: failure }));

  test.each([[1, 1], [3, 3], [6, 6], [10, 6]])("with %d attempts allowed, all together, there are %d", async (attemptsMax, asked) => {
    const world = all(unable(503));
    await world.ask({ attemptsMax });
    expect(world.asked).toHaveLength(asked);
  });

  test("one deadline holds for all attempts", async () => {
    const world = new Vendors(many, () => ({ outcome: good, ms: 10_000 }));
    expect(await world.ask({ ttftMs: 1_000, endsAt: 1_500, attemptsMax: 6 })).toMatchObject({ failure: { kind: "timeout" }, attempts: [{ ms: 1_000 }, { ms: 500 }] });
  });

  test("without a budget there is one attempt", async () => {
    const world = all(unable(503));
    while (world.remembered.budget.take(1));
    await world.ask();
    expect(world.asked).toHaveLength(1);
  });

  test("in flight is counted back for every attempt that gave no answer", async () => {
    const world = all(unable(503));
    await world.ask();
    for (const { id } of many) expect(world.remembered.observed.inFlight(id)).toBe(0);
  });
});

describe("attemptInTurn(): a second attempt beside a silent first", () => {
  function slow(ms: Record<string, number>, outcomes: Record<string, Outcome<string>> = {}): Vendors {
    return new Vendors(two, (id) => ({ outcome: outcomes[id] ?? good, ms: ms[id] ?? 5 }));
  }

  test("is not begun when the first answers in time", async () => {
    const world = slow({ a: 40 });
    expect(await world.ask({ hedgeAfterMs: 50 })).toMatchObject({ candidate: { id: "a" } });
    expect(world.asked).toEqual(["a"]);
  });

  test("the first good answer wins, the other is given up and counts as an attempt", async () => {
    const world = slow({ a: 500 });
    expect(await world.ask({ hedgeAfterMs: 50 })).toMatchObject({ candidate: { id: "b" }, attempts: [{ id: "a", outcome: "abandoned" }, { id: "b", outcome: "answer", hedge: true }] });
    expect(world.abandoned).toEqual(["a"]);
    expect(world.remembered.standings.survey(world.course().upstreams, "", world.now)).toBeUndefined();
  });

  test("when the second fails, the first still decides", async () => {
    const world = slow({ a: 500 }, { b: lost });
    expect(await world.ask({ hedgeAfterMs: 50 })).toMatchObject({ candidate: { id: "a" }, attempts: [{ id: "b", outcome: "lost" }, { id: "a", outcome: "answer" }] });
  });

  test.each([["attempts", { attemptsMax: 1 }], ["repeatable", { repeatable: false }]])("needs what any other attempt needs: %s", async (_, more) => {
    const world = slow({ a: 500 });
    await world.ask({ hedgeAfterMs: 50, ...more });
    expect(world.asked).toEqual(["a"]);
  });

  test("is paid for from the same budget", async () => {
    const world = slow({ a: 500 });
    while (world.remembered.budget.take(1));
    await world.ask({ hedgeAfterMs: 50 });
    expect(world.asked).toEqual(["a"]);
  });
});

describe("attemptInTurn(): over a minute", () => {
  /** A minute of requests, one after the other at a rate, with the real budget and breakers. */
  async function minute(world: Vendors, perSecond: number): Promise<{ requests: number; answered: number }> {
    let requests = 0;
    let answered = 0;
    for (const end = world.now + 60_000; world.now < end; requests++) {
      const at = world.now;
      const survey = world.remembered.standings.survey(world.course().upstreams, "/v1/chat/completions", at);
      const candidates = world.candidates.filter(({ id }) => survey?.blocked.has(id) !== true);
      if ("answer" in (await world.ask({ candidates }))) answered++;
      world.now = Math.max(world.now, at + 1000 / perSecond);
    }
    return { requests, answered };
  }

  test.each([[2, 20], [3, 100], [10, 50]])("while all of %d upstreams fail, at %d requests a second, there are at most 1.1 attempts a request", async (count, perSecond) => {
    const world = new Vendors(Array.from({ length: count }, (_, i) => replica(`r${i}`)), () => ({ outcome: unable(500) }));
    const { requests } = await minute(world, perSecond);
    expect(world.asked.length).toBeLessThanOrEqual(1.1 * requests);
  });

  test("while the first of two is out, everything is answered by the other, and the first is back soon after", async () => {
    let outage = true;
    const world = new Vendors([provider("a"), provider("b", true)], (id) => ({ outcome: outage && id === "a" ? unable(503) : good }));
    const during = await minute(world, 20);
    expect(during.answered).toBe(during.requests);
    expect(world.asked.length).toBeLessThanOrEqual(1.1 * during.requests);
    outage = false;
    world.asked = [];
    await minute(world, 20);
    expect(world.asked).toContain("a");
    expect(world.asked.indexOf("a") / 20).toBeLessThanOrEqual(10);
  });
});

describe("attemptInTurn(): requests that replicas die of", () => {
  const died: Failure = { kind: "lost", why: "upstream_lost: ECONNRESET" };
  const refused = new FairleadError("poison_request", "Cannot");

  /** Refused after so many deaths. */
  function judge(most: number): { blame: (replica: string) => FairleadError | undefined; blamed: string[] } {
    const blamed: string[] = [];
    return { blamed, blame: (replica) => (blamed.push(replica) >= most ? refused : undefined) };
  }

  test("row 33: one that two replicas died of is sent neither to a third nor to a provider, and its caller is told why", async () => {
    const { blame, blamed } = judge(2);
    const world = vendors([replica("a"), replica("b"), replica("c"), provider("vendor")], { a: [died], b: [died] });
    expect(await world.ask({ blame, attemptsMax: 6 })).toMatchObject({ failure: { kind: "caller", error: refused }, attempts: [{ id: "a", outcome: "lost" }, { id: "b", outcome: "lost" }] });
    expect(blamed).toEqual(["a", "b"]);
    expect(world.asked).toEqual(["a", "b"]);
  });

  test.each<[string, Candidate[], Failure]>([
    ["a provider's broken connection", [provider("a"), provider("b")], died],
    ["a link that was lost", [replica("a"), replica("b")], { kind: "lost", why: "carrier_lost: the agent's connection was lost" }],
    ["a replica that was being stopped", [replica("a"), replica("b")], { kind: "lost", why: "cancelled: the replica is being stopped" }],
    ["a replica that could not be reached", [replica("a"), replica("b")], { kind: "unsent", why: "connect_failed: ECONNREFUSED" }],
    ["a replica that said it failed", [replica("a"), replica("b")], unable(500)],
    ["silence", [replica("a"), replica("b")], { kind: "timeout", why: "" }],
  ])("%s is not the request's doing", async (_, candidates, failure) => {
    const { blame, blamed } = judge(1);
    const world = vendors(candidates, { a: [failure, failure] });
    expect(await world.ask({ blame })).toMatchObject({ answer: "good", candidate: { id: "b" } });
    expect(blamed).toEqual([]);
  });

  test("both of a hedged pair are counted", async () => {
    const { blame } = judge(2);
    const world = new Vendors([replica("a"), replica("b"), replica("c")], (id) => (id === "c" ? { outcome: good } : { outcome: died, ms: 50 }));
    expect(await world.ask({ blame, hedgeAfterMs: 10 })).toMatchObject({ failure: { error: refused } });
    expect(world.asked).toEqual(["a", "b"]);
  });
});

test.each<[string, Partial<Course<string>>, Record<string, Outcome<string>[]>, number]>([
  ["all fail", {}, { a: [lost], b: [unsent], c: [unable(503)] }, 0],
  ["the second answers", {}, { a: [lost] }, 1],
  ["one of a hedged pair answers", { hedgeAfterMs: 1 }, {}, 1],
  ["both of a hedged pair fail", { hedgeAfterMs: 1, attemptsMax: 2 }, { a: [lost], b: [lost] }, 0],
  ["one of a hedged pair fails", { hedgeAfterMs: 1 }, { a: [lost] }, 1],
  ["the client leaves", { gone: () => true }, { a: [{ kind: "abandoned" }] }, 0],
])("attemptInTurn() leaves nothing in flight but the answer: %s", async (_, more, outcomes, left) => {
  const world = vendors([replica("a"), replica("b"), replica("c")], outcomes);
  const result = await world.ask(more);
  const inFlight = (): number => ["a", "b", "c"].reduce((sum, id) => sum + world.observed.inFlight(id), 0);
  expect(inFlight()).toBe(left);
  if ("flight" in result) world.remembered.flights.end(result.flight, world.now);
  expect(inFlight()).toBe(0);
});
