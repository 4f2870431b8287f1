import { describe, expect, test } from "vitest";
import { attachTarget, type AttemptWay, type RequestHead, type ResetReason, type ResponseHead } from "../schema/frames.ts";
import { linkTimes } from "../schema/protocol.ts";
import { keepAttempts, type AttemptsOptions } from "./attempts.ts";
import type { Carried, Wire } from "./carry.ts";
import type { Timers } from "./timers.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const bytes = (value: string): Uint8Array => Buffer.from(value);

/** Time by hand. */
function time() {
  let now = 1_000;
  const planned = new Set<{ at: number; action: () => void }>();
  const timers: Timers = {
    after(ms, action) {
      const one = { at: now + ms, action };
      planned.add(one);
      return () => void planned.delete(one);
    },
  };
  return {
    clock: { now: () => now },
    timers,
    planned,
    pass(ms: number): void {
      for (const end = now + ms; ; ) {
        const [next] = [...planned].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at);
        if (!next) {
          now = end;
          return;
        }
        planned.delete(next);
        now = next.at;
        next.action();
      }
    },
  };
}

/** The client's side, as a link gives it. */
class Client implements Wire {
  heads: ResponseHead[] = [];
  got = "";
  ended = false;
  resetBy: ResetReason | undefined;
  credit = 0;
  /** It takes more at once. */
  open = true;
  head(head: ResponseHead): void {
    this.heads.push(head);
  }
  body(payload: Uint8Array): boolean {
    this.got += text(payload);
    return this.open;
  }
  end(): void {
    this.ended = true;
  }
  reset(code: ResetReason["code"], message: string): void {
    this.resetBy = { code, message };
  }
  granted(count: number): void {
    this.credit += count;
  }
  /** Methods of a class do not survive being spread. */
  get wire(): Wire {
    return {
      head: (head) => this.head(head), body: (payload) => this.body(payload), end: () => this.end(), reset: (code, message) => this.reset(code, message), granted: (count) => this.granted(count),
    };
  }
}

/** Attempts, and engines that do what the test says. */
function world(options: Partial<AttemptsOptions> = {}) {
  const at = time();
  const engines: { head: RequestHead; wire: Wire; sent: string; ended: boolean; cancelled: boolean; resumed: number }[] = [];
  const attempts = keepAttempts({
    clock: at.clock, timers: at.timers,
    answererOf: ({ target }) => {
      if (target !== "chat") return { refuse: { code: "no_target", message: "" } };
      return {
        carry(head, wire) {
          const engine = { head, wire, sent: "", ended: false, cancelled: false, resumed: 0 };
          engines.push(engine);
          return {
            body: (payload) => void (engine.sent += text(payload)),
            end: () => void (engine.ended = true),
            resume: () => void engine.resumed++,
            cancel: () => void (engine.cancelled = true),
          };
        },
      };
    },
    ...options,
  });
  /** Asks by a link: the way it got, or why it got none. */
  function ask(attempt: AttemptWay | undefined, more: Partial<RequestHead> = {}) {
    const head: RequestHead = { target: attempt?.from === undefined ? "chat" : attachTarget, method: "POST", path: "/", headers: [], requestId: "r", ...(attempt ? { attempt } : {}), ...more };
    const client = new Client();
    const answerer = attempts.answererOf(head);
    if ("refuse" in answerer) return { client, refused: answerer.refuse.code, way: undefined };
    return { client, refused: undefined, way: answerer.carry(head, client.wire) };
  }
  /** A request that has come whole, by the first link. */
  function begun(id = "a") {
    const { client, way } = ask({ id, turn: 0 });
    way?.body(bytes("ask"), "data");
    way?.end({ code: 1000, reason: "" });
    const engine = engines.at(-1);
    if (!engine || !way) throw new Error("nothing was begun");
    return { client, way, engine };
  }
  return { at, attempts, engines, ask, begun };
}

const head: ResponseHead = { status: 200, headers: [["content-type", "text/event-stream"]] };
const lose = (way: Carried): void => {
  if (!way.lost) throw new Error("this way cannot be lost");
  way.lost();
};

describe("keepAttempts()", () => {
  test("row 20: an answer whose link is lost goes on by another, from any byte, and the engine is asked once", () => {
    const whole = "0123456789";
    for (let cut = 0; cut <= whole.length; cut++) {
      for (let from = 0; from <= cut; from++) {
        const { engines, ask, begun } = world();
        const { client, way, engine } = begun();
        engine.wire.head(head);
        for (const byte of whole.slice(0, cut)) engine.wire.body(bytes(byte));
        lose(way);
        expect(client.got).toBe(whole.slice(0, cut));
        const next = ask({ id: "a", turn: 1, from });
        for (const byte of whole.slice(cut)) engine.wire.body(bytes(byte));
        engine.wire.end();
        expect({ got: next.client.got, heads: next.client.heads, ended: next.client.ended }).toEqual({ got: whole.slice(from), heads: [head], ended: true });
        expect(client.got).toBe(whole.slice(0, cut));
        expect(engines.length).toBe(1);
        expect(engine.cancelled).toBe(false);
      }
    }
  });

  test("row 20: what is sent while no link is there is kept, and so is an answer that ended meanwhile", () => {
    const { ask, begun } = world();
    const { way, engine } = begun();
    lose(way);
    engine.wire.head(head);
    engine.wire.body(bytes("all of it"));
    engine.wire.end();
    expect(ask({ id: "a", turn: 1, from: 0 }).client).toMatchObject({ got: "all of it", heads: [head], ended: true });
  });

  test("row 20: the same request by another link takes the begun answer over: it is not begun again", () => {
    const { engines, ask, begun } = world();
    const { way, engine } = begun();
    engine.wire.head(head);
    engine.wire.body(bytes("one "));
    lose(way);
    const next = ask({ id: "a", turn: 1 });
    next.way?.body(bytes("ask"), "data");
    next.way?.end({ code: 1000, reason: "" });
    engine.wire.body(bytes("two"));
    expect(next.client).toMatchObject({ got: "one two", credit: 3 });
    expect(engines.length).toBe(1);
    expect(engine.sent).toBe("ask");
  });

  test("a request that a lost link has brought in part only is cancelled, and begun again by the next", () => {
    const { engines, ask } = world();
    const first = ask({ id: "a", turn: 0 });
    first.way?.body(bytes("as"), "data");
    lose(first.way as Carried);
    expect(engines[0]?.cancelled).toBe(true);
    const second = ask({ id: "a", turn: 1 });
    second.way?.body(bytes("ask"), "data");
    expect(engines[1]).toMatchObject({ sent: "ask", cancelled: false });
  });

  test("a later way takes over from one that is still there, and what that one says is not heard any more", () => {
    const { ask, begun } = world();
    const { client, way, engine } = begun();
    engine.wire.head(head);
    engine.wire.body(bytes("ab"));
    const next = ask({ id: "a", turn: 1, from: 1 });
    expect(client.resetBy?.code).toBe("gone");
    way.cancel();
    way.lost?.();
    way.resume();
    engine.wire.body(bytes("c"));
    expect({ old: client.got, next: next.client.got, cancelled: engine.cancelled, resumed: engine.resumed }).toEqual({ old: "ab", next: "bc", cancelled: false, resumed: 0 });
  });

  test("a way that comes late takes nothing from a later one", () => {
    const { ask, begun, engines } = world();
    const { way, engine } = begun();
    lose(way);
    const later = ask({ id: "a", turn: 2, from: 0 });
    expect(ask({ id: "a", turn: 1, from: 0 }).refused).toBe("gone");
    expect(ask({ id: "a", turn: 2 }).refused).toBe("gone");
    engine.wire.head(head);
    engine.wire.body(bytes("x"));
    expect(later.client.got).toBe("x");
    expect(engines.length).toBe(1);
  });

  test("row 37: bytes that are not kept any more are gone, and the engine is let off", () => {
    const { attempts, ask, begun } = world({ replayBytesMax: 4 });
    const { way, engine } = begun();
    engine.wire.head(head);
    engine.wire.body(bytes("012345"));
    lose(way);
    expect(ask({ id: "a", turn: 1, from: 1 }).refused).toBe("gone");
    expect(engine.cancelled).toBe(true);
    expect(attempts.size).toBe(0);
  });

  test("row 37: the oldest bytes that are kept are enough", () => {
    const { ask, begun } = world({ replayBytesMax: 4 });
    const { way, engine } = begun();
    engine.wire.head(head);
    engine.wire.body(bytes("012345"));
    lose(way);
    expect(ask({ id: "a", turn: 1, from: 2 }).client.got).toBe("2345");
  });

  test("row 37: an answer that nobody asks for is cancelled when its time is over, and gone", () => {
    const { at, attempts, ask, begun } = world();
    const { way, engine } = begun();
    engine.wire.head(head);
    lose(way);
    at.pass(linkTimes.parkMs - 1);
    expect(engine.cancelled).toBe(false);
    at.pass(1);
    expect(engine.cancelled).toBe(true);
    expect(ask({ id: "a", turn: 1, from: 0 }).refused).toBe("gone");
    expect([attempts.size, at.planned.size]).toEqual([0, 0]);
  });

  test("one that is taken over in time is not cancelled afterwards, and can be lost again", () => {
    const { at, ask, begun } = world();
    const { way, engine } = begun();
    engine.wire.head(head);
    lose(way);
    at.pass(linkTimes.parkMs - 1);
    const second = ask({ id: "a", turn: 1, from: 0 });
    at.pass(10 * linkTimes.parkMs);
    engine.wire.body(bytes("a"));
    lose(second.way as Carried);
    engine.wire.body(bytes("b"));
    expect(ask({ id: "a", turn: 2, from: 1 }).client.got).toBe("b");
    expect(engine.cancelled).toBe(false);
  });

  test("row 26: a client that leaves is never waited for: its engine is told at once", () => {
    const { attempts, at, ask, begun } = world();
    const { way, engine } = begun();
    engine.wire.head(head);
    way.cancel();
    expect(engine.cancelled).toBe(true);
    expect([attempts.size, at.planned.size]).toEqual([0, 0]);
    expect(ask({ id: "a", turn: 1, from: 0 }).refused).toBe("gone");
  });

  test("row 2: a replica's own end is told apart from its link's: what it sent is given, then that it was lost", () => {
    const { ask, begun } = world();
    const { way, engine } = begun();
    engine.wire.head(head);
    engine.wire.body(bytes("half"));
    lose(way);
    engine.wire.reset("upstream_lost", "it died");
    const next = ask({ id: "a", turn: 1, from: 2 });
    expect(next.client).toMatchObject({ got: "lf", heads: [head], resetBy: { code: "upstream_lost" } });
    // nothing is left of it: no answer begins
    expect(ask({ id: "a", turn: 2, from: 4 }).client).toMatchObject({ got: "", heads: [], resetBy: { code: "upstream_lost" } });
  });

  test("an answer that has ended is kept for the case that its link is lost with its end, and not for long", () => {
    const { at, attempts, ask, begun } = world();
    const { engine } = begun();
    engine.wire.head(head);
    engine.wire.body(bytes("done"));
    engine.wire.end();
    at.pass(linkTimes.parkMs - 1);
    expect(ask({ id: "a", turn: 1, from: 2 }).client).toMatchObject({ got: "ne", ended: true });
    at.pass(2 * linkTimes.parkMs);
    expect([attempts.size, at.planned.size]).toEqual([0, 0]);
  });

  test("answers that have ended take no more memory than they may: the oldest go", () => {
    const { attempts, ask, begun } = world({ endedBytesMax: 3 * 4096 });
    for (let i = 0; i < 100; i++) {
      const { engine } = begun(`a${i}`);
      engine.wire.head(head);
      engine.wire.body(bytes("x"));
      engine.wire.end();
    }
    expect(attempts.size).toBe(3);
    expect(ask({ id: "a96", turn: 1, from: 0 }).refused).toBe("gone");
    expect(ask({ id: "a97", turn: 1, from: 0 }).client.got).toBe("x");
  });

  test("without a link the engine goes on as far as there is room, then it waits, and goes on with the next link", () => {
    const { ask, begun } = world();
    const { way, engine } = begun();
    engine.wire.head(head);
    lose(way);
    const chunk = new Uint8Array(32 * 1024);
    const took = Array.from({ length: 7 }, () => engine.wire.body(chunk));
    expect(took).toEqual([true, true, true, true, true, true, false]);
    ask({ id: "a", turn: 1, from: 0 });
    expect(engine.resumed).toBe(1);
  });

  test("an engine that waits for credit goes on when its link is lost, if there is room, and else with the next link's credit", () => {
    const { ask, begun } = world();
    const { client, way, engine } = begun();
    client.open = false;
    expect(engine.wire.body(bytes("x"))).toBe(false);
    lose(way);
    expect(engine.resumed).toBe(1);
    expect(engine.wire.body(new Uint8Array(250 * 1024))).toBe(false);
    const answerer = ask({ id: "a", turn: 1, from: 0 });
    expect(engine.resumed).toBe(2);
    answerer.client.open = false;
    expect(engine.wire.body(bytes("y"))).toBe(false);
    answerer.way?.resume();
    expect(engine.resumed).toBe(3);
  });

  test("requests without an attempt, and WebSockets, are none of its business", () => {
    const { attempts, ask, engines } = world();
    for (const { way } of [ask(undefined), ask({ id: "a", turn: 0 }, { upgrade: true })]) {
      expect(way).toBeDefined();
      expect(way).not.toHaveProperty("lost");
    }
    expect([attempts.size, engines.length]).toEqual([0, 2]);
    expect(ask(undefined, { target: "nobody" }).refused).toBe("no_target");
    expect(ask({ id: "a", turn: 0 }, { target: "nobody" }).refused).toBe("no_target");
  });

  test("nothing is ever begun by a way that only goes on", () => {
    const { ask, engines } = world();
    expect(ask({ id: "a", turn: 1, from: 0 }).refused).toBe("gone");
    expect(ask({ id: "a", turn: 1, from: 0 }, { target: "chat" }).refused).toBe("gone");
    expect(ask({ id: "a", turn: 1 }, { target: attachTarget }).refused).toBe("gone");
    expect(ask(undefined, { target: attachTarget }).refused).toBe("gone");
    const half = ask({ id: "half", turn: 0 });
    expect(half.refused).toBeUndefined();
    expect(ask({ id: "half", turn: 1, from: 0 }).refused).toBe("gone");
    expect(engines.length).toBe(1);
  });

  test("when the agent stops, what is parked is cancelled, and nothing is parked any more", () => {
    const { attempts, begun } = world();
    const parked = begun("a");
    lose(parked.way);
    const running = begun("b");
    attempts.close();
    running.way.lost?.();
    expect([parked.engine.cancelled, running.engine.cancelled, attempts.size]).toEqual([true, true, 0]);
  });
});
