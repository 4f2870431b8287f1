import { describe, expect, test, vi } from "vitest";
import type { RequestHead, ResponseHead } from "../schema/frames.ts";
import type { Carried, Wire } from "./carry.ts";
import type { ReplicaLogs } from "./executor.ts";
import { keepRecent } from "./recent.ts";
import { createScrubber } from "./scrub.ts";
import { tell } from "./tell.ts";

const scrubber = createScrubber();
scrubber.learn(["swordfish"]);
const recent = keepRecent();
recent.add("replica is ready", { replica: "chat.local.1" });
recent.add("link is up", {});

const logs: ReplicaLogs = {
  tail: async (_id, lines) => `\u001b[1mone\u001b[0m swordfish\ntwo ${lines}\n`,
  async *follow() {
    yield Buffer.from("sword");
    yield Buffer.from("fish\nlast");
  },
  lastLine: async () => undefined,
  trim: async () => undefined,
};

function ask(path: string, method = "GET"): { carried: Carried; said: () => string; answer: Promise<{ head: ResponseHead | undefined; text: string }> } {
  const done = Promise.withResolvers<{ head: ResponseHead | undefined; text: string }>();
  let head: ResponseHead | undefined;
  let text = "";
  const wire: Wire = {
    head: (given) => void (head = given),
    body: (piece) => ((text += Buffer.from(piece).toString("utf8")), true),
    end: () => done.resolve({ head, text }),
    reset: (code, message) => done.reject(new Error(`${code}: ${message}`)),
    granted() {},
  };
  const carried = tell({ method, path, headers: [], target: "agent" } as unknown as RequestHead, wire, { logs, knows: (id) => id === "chat.local.1", isOver: () => true, recent, scrubber });
  return { carried, said: () => text, answer: done.promise };
}

describe("tell()", () => {
  test.each([
    ["/logs/chat.local.1?tail=5", 200, "one ***\ntwo 5\n"],
    ["/logs/chat.local.1?tail=5&raw=1", 200, "one ***\ntwo 5\n"],
    ["/logs/chat.local.1?follow=1", 200, "***\nlast\n"],
    ["/log?service=chat", 200, "replica is ready\n"],
    ["/log?tail=1", 200, "link is up\n"],
    ["/log?service=other", 200, ""],
    ["/logs/other.local.1", 404, "this host has no replica other.local.1\n"],
    ["/logs", 404, "the agent has nothing under this path\n"],
    ["/etc/passwd", 404, "the agent has nothing under this path\n"],
  ])("answers %s with %i", async (path, status, text) => {
    expect(await ask(path).answer).toMatchObject({ head: { status }, text });
  });

  test("says what it does until nobody listens any more", async () => {
    const { carried, said } = ask("/log?tail=1&follow=1&service=chat");
    await vi.waitFor(() => expect(said()).toBe("replica is ready\n"), { timeout: 20_000 });
    recent.add("of another", { service: "other" });
    recent.add("replica is draining", { replica: "chat.local.1" });
    await vi.waitFor(() => expect(said()).toBe("replica is ready\nreplica is draining\n"), { timeout: 20_000 });
    carried.cancel();
    recent.add("replica is stopped", { replica: "chat.local.1" });
    await new Promise(setImmediate);
    expect(said()).toBe("replica is ready\nreplica is draining\n");
  });

  test("has no other method", async () => {
    expect(await ask("/log", "POST").answer).toMatchObject({ head: { status: 404 } });
  });
});
