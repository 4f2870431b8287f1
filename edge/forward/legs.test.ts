import { beforeEach, describe, expect, test } from "vitest";
import { FairleadError } from "../../schema/errors.ts";
import { providerSchema } from "../../schema/bundle.ts";
import { replicaRow } from "../../test/replicaRow.ts";
import { Observed } from "../route/observed.ts";
import { providerCandidate, type Candidate } from "../route/candidates.ts";
import type { Answer } from "./attempt.ts";
import { Flights } from "./flights.ts";
import { RetryBudget } from "./budget.ts";
import { Delivered } from "./delivered.ts";
import { lossError, type Broken } from "./goOn.ts";
import { goingOn, isLoss, type Legs } from "./legs.ts";
import type { Failure, Outcome } from "./outcome.ts";
import { FirstLeg } from "./passage.ts";
import { askOf, type Ask, type Leg } from "./resume.ts";
import { Standings } from "./standing.ts";
import type { Source } from "./inflow.ts";
import { Watch } from "./watch.ts";

const refusal = new FairleadError("invalid_request", "Cannot go on from a last message of the assistant's");
const lost: Failure = { kind: "lost", why: "gone" };

function replica(id: string, { version = 1, continuation = "tokens" }: { version?: number; continuation?: Candidate["continuation"] } = {}): Candidate {
  return { kind: "replica", id, upstream: "replicas", weight: 1, fallback: false, price: undefined, contextWindow: undefined, continuation, version, host: "h", relays: [0], load: 0 };
}

function vendor(name: string, { model, continuation = "none" }: { model?: string; continuation?: Candidate["continuation"] } = {}): Candidate {
  return providerCandidate(providerSchema.parse({ name, endpoint: "https://a.example/v1", dialect: "openai", continuation, ...(model === undefined ? {} : { model }) }));
}

function asking(body: Record<string, unknown> = {}): Ask {
  const parsed = { model: "m", messages: [{ role: "user", content: "hi" }], stream: true, ...body };
  const ask = askOf("/v1/chat/completions", parsed, JSON.stringify(parsed));
  if (ask === undefined) throw new Error("not a chat");
  return ask;
}

interface Sent {
  id: string;
  /** exact, text, or the request as it was. */
  as: "exact" | "text" | "again";
}

let sent: Sent[];
let budget: RetryBudget;
let standings: Standings;
let now: number;

beforeEach(() => {
  sent = [];
  budget = new RetryBudget();
  standings = new Standings();
  now = 1_000;
});

function methodOf(leg: Leg | undefined): Sent["as"] {
  if (leg === undefined) return "again";
  return leg.path === "/v1/completions" ? "exact" : "text";
}

function remembered(): Legs["remembered"] {
  const observed = new Observed();
  return { budget, standings, observed, flights: new Flights(observed) };
}

interface World {
  candidates: Candidate[];
  ask?: Ask;
  outcome?: (sent: Sent) => Failure | "answer";
  more?: Partial<Legs>;
}

/** How an answer that the first candidate began goes on, leg after leg. */
function world({ candidates, ask = asking(), outcome = () => "answer", more = {} }: World): Legs {
  return {
    ask, onStreamLoss: "continue", model: "m", candidates, again: undefined, upstreams: { replicas: [], providers: [] }, path: "/v1/chat/completions",
    attempts: [{ id: candidates[0]?.id ?? "", outcome: "answer", ms: 1 }], attemptsMax: 3, ttftMs: 1_000, idleMs: 1_000, startedAt: 0, endsAt: 100_000,
    remembered: remembered(), now: () => now, random: () => 0.5,
    send: (candidate, leg, passage) => {
      const one = { id: candidate.id, as: methodOf(leg) };
      sent.push(one);
      const result = outcome(one);
      const answer = { events: { reader: {} as never, watch: new Watch(passage), first: new Uint8Array() }, abandon: () => undefined } as unknown as Answer;
      return { result: Promise.resolve<Outcome<Answer>>(result === "answer" ? { kind: "answer", answer } : result), abandon: () => undefined };
    },
    detokenize: async () => undefined,
    prefillOf: () => "plain",
    blame: () => undefined,
    judge: () => undefined,
    gone: () => false,
    leave: () => undefined,
    resumed: () => undefined,
    ...more,
  };
}

/** Some text with ids. */
function begun(ask: Ask, ids = true): Watch {
  const delivered = new Delivered();
  const watch = new Watch(new FirstLeg(ask, delivered, undefined));
  delivered.note({ id: "a", prompt_token_ids: [1], choices: [{ index: 0, delta: { role: "assistant", content: "" } }] });
  delivered.note({ choices: [{ index: 0, delta: { content: "One" }, ...(ids ? { token_ids: [2] } : {}) }] });
  return watch;
}

function broken(watch: Watch, failure: Failure = lost): Broken {
  return { failure, error: lossError(failure, 1), watch };
}

async function goOn(legs: Legs, { watch = begun(legs.ask), failure }: { watch?: Watch; failure?: Failure } = {}): Promise<Source | undefined> {
  const [first] = legs.candidates;
  if (first === undefined) throw new Error("no candidate");
  return goingOn(legs, first)(broken(watch, failure)).result;
}

describe("the best method on the first upstream that takes it", () => {
  test.each<[string, Candidate[], Sent[]]>([
    ["another replica of the same version, by ids", [replica("r1"), replica("r2")], [{ id: "r2", as: "exact" }]],
    ["never the replica that was lost", [replica("r1")], []],
    ["ids before text, whoever comes first", [replica("r1"), vendor("v", { continuation: "text" }), replica("r2")], [{ id: "r2", as: "exact" }]],
    ["text before the same answer again", [replica("r1"), vendor("again"), vendor("v", { continuation: "text" })], [{ id: "v", as: "text" }]],
    ["the same answer again by one of the same model", [replica("r1"), vendor("other", { model: "other" }), vendor("v")], [{ id: "v", as: "again" }]],
    ["not by ids on another version, but from text", [replica("r1"), replica("r2", { version: 2 })], [{ id: "r2", as: "text" }]],
    ["a provider that was lost, once more, when nothing else is left", [vendor("v")], [{ id: "v", as: "again" }]],
    ["a provider that was lost only after the others", [vendor("v"), vendor("w")], [{ id: "w", as: "again" }]],
    ["not another model that cannot continue a text", [vendor("v", { model: "x", continuation: "none" }), vendor("w", { model: "y" })], [{ id: "v", as: "again" }]],
  ])("%s", async (_, candidates, expected) => {
    await goOn(world({ candidates }));
    expect(sent).toEqual(expected);
  });

  test("on_stream_loss: exact does without text", async () => {
    await goOn(world({ candidates: [replica("r1"), vendor("v", { continuation: "text", model: "x" })], more: { onStreamLoss: "exact" } }));
    expect(sent).toEqual([]);
  });

  test("tools are not continued: the same answer again", async () => {
    await goOn(world({ candidates: [replica("r1"), replica("r2")], ask: asking({ tools: [{}] }) }));
    expect(sent).toEqual([{ id: "r2", as: "again" }]);
  });

  test("when nothing was delivered, the request begins again", async () => {
    const ask = asking();
    await goOn(world({ candidates: [replica("r1"), replica("r2")], ask }), { watch: new Watch(new FirstLeg(ask, new Delivered(), undefined)) });
    expect(sent).toEqual([{ id: "r2", as: "again" }]);
  });

  test("stop strings need the text of the ids, and one that begins with what was delivered", async () => {
    const ask = asking({ stop: "x" });
    const candidates = [replica("r1"), replica("r2")];
    await goOn(world({ candidates, ask, more: { detokenize: async () => "One tw" } }));
    await goOn(world({ candidates, ask, more: { detokenize: async () => "Two" } }));
    await goOn(world({ candidates, ask }));
    expect(sent.map(({ as }) => as)).toEqual(["exact", "again", "again"]);
  });
});

describe("what a leg may cost", () => {
  test("attempts are those of the whole request", async () => {
    const legs = world({ candidates: ["r1", "r2", "r3", "r4", "r5"].map((id) => replica(id)), outcome: () => lost });
    expect(await goOn(legs)).toBeUndefined();
    expect(sent).toHaveLength(2);
    expect(legs.attempts.map(({ id, outcome, midway, method }) => [id, outcome, midway, method])).toEqual([["r1", "lost", true, undefined], ["r2", "lost", undefined, "exact"], ["r3", "lost", undefined, "exact"]]);
  });

  test("no leg without retry budget, time, or a client", async () => {
    const candidates = [replica("r1"), replica("r2")];
    while (budget.take(14)) {
      // until it is spent
    }
    await goOn(world({ candidates }));
    budget = new RetryBudget();
    await goOn(world({ candidates, more: { endsAt: now } }));
    await goOn(world({ candidates, more: { gone: () => true } }));
    expect(sent).toEqual([]);
  });

  test("breakers and limits are kept", async () => {
    standings.failed("r2", "", { kind: "throttled", retryAfterMs: 60_000, error: refusal }, now, now, () => 0.5);
    await goOn(world({ candidates: [replica("r1"), replica("r2"), replica("r3")], more: { upstreams: { replicas: [replicaRow("r2")], providers: [] } } }));
    expect(sent).toEqual([{ id: "r3", as: "exact" }]);
  });

  test("a refusal is the method's, never the caller's: the next method, on the same upstream too", async () => {
    const source = await goOn(world({ candidates: [replica("r1"), replica("r2")], outcome: ({ as }) => (as === "exact" ? { kind: "caller", error: refusal } : "answer") }));
    expect(sent).toEqual([{ id: "r2", as: "exact" }, { id: "r2", as: "text" }]);
    expect(source).toBeDefined();
  });

  test("a second loss goes on from the first: no upstream a third time", async () => {
    const legs = world({ candidates: [replica("r1"), replica("r2"), replica("r3")] });
    const first = await goOn(legs);
    const second = await first?.goOn?.(broken(begun(legs.ask))).result;
    expect(sent.map(({ id }) => id)).toEqual(["r2", "r3"]);
    expect(await second?.goOn?.(broken(begun(legs.ask))).result).toBeUndefined();
  });

  test("what is known to have gone is asked for anew, and so is an old decision", async () => {
    const again = async (): Promise<Candidate[]> => [replica("r9")];
    await goOn(world({ candidates: [replica("r1")], more: { again } }));
    now = 60_000;
    await goOn(world({ candidates: [replica("r1"), replica("gone")], more: { again } }));
    expect(sent.map(({ id }) => id)).toEqual(["r9", "r9"]);
  });

  test("news that cannot be had change nothing", async () => {
    now = 60_000;
    await goOn(world({ candidates: [replica("r1"), replica("r2")], more: { again: async () => Promise.reject(new Error("no Hub")) } }));
    expect(sent.map(({ id }) => id)).toEqual(["r2"]);
  });
});

describe("isLoss()", () => {
  const error = new FairleadError("provider_error", "x");
  test.each<[boolean, Failure]>([
    [true, { kind: "lost", why: "eof" }],
    [true, { kind: "timeout", why: "idle" }],
    [false, { kind: "timeout", why: "total" }],
    [true, { kind: "unable", status: 500, error }],
    [true, { kind: "unable", status: 429, error }],
    [false, { kind: "unable", status: 400, error }],
    [false, { kind: "content_filter", error }],
    [true, { kind: "abandoned" }],
  ])("%s for %j", (expected, failure) => {
    expect(isLoss(failure)).toBe(expected);
  });

  test("what is no loss is not taken up", async () => {
    await goOn(world({ candidates: [replica("r1"), replica("r2")] }), { failure: { kind: "unable", status: 400, error } });
    expect(sent).toEqual([]);
  });
});
