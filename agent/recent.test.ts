import { expect, test } from "vitest";
import { keepRecent } from "./recent.ts";

test("tail() gives the last lines, of one service where it is named", () => {
  const recent = keepRecent(3);
  recent.add("one", { replica: "chat.local.1" });
  recent.add("two", { replica: "chat.v2.local.1" });
  recent.add("three", {});
  expect(recent.tail(10)).toBe("one\ntwo\nthree\n");
  expect(recent.tail(10, "chat")).toBe("one\n");
  expect(recent.tail(10, "chat.v2")).toBe("two\n");
  recent.add("four", { service: "chat" });
  expect([recent.tail(2), recent.tail(0), recent.dropped]).toEqual(["three\nfour\n", "", 1]);
});

test("follow() begins with the last lines, goes on as they come, and ends with its signal", async () => {
  const recent = keepRecent(2);
  const stop = new AbortController();
  recent.add("before", { service: "chat" });
  const read: string[] = [];
  const done = (async () => {
    for await (const text of recent.follow(5, "chat", stop.signal)) {
      read.push(text);
      if (read.length === 1) {
        recent.add("of another", { service: "other" });
        for (const line of ["after", "later", "too much"]) recent.add(line, { service: "chat" });
      } else stop.abort();
    }
  })();
  await done;
  expect(read).toEqual(["before\n", "after\nlater\n… 1 lines are missing here\n"]);
});
