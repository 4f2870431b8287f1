import { expect, test } from "vitest";
import { createLog, plainText } from "./log.ts";

test("createLog() writes one line a message, with values quoted where they need it", () => {
  const lines: string[] = [];
  const log = createLog({ level: "info", clock: { now: () => 0 }, write: (line) => lines.push(line) });
  log.debug("unseen");
  log.info("link is up", { region: "local", reason: "two words\nand a line", gone: undefined, at: 3 });
  expect(lines).toEqual(['1970-01-01T00:00:00.000Z info link is up region=local reason="two words and a line" at=3']);
});

test("plainText() leaves no terminal escapes", () => {
  expect(plainText("\u001b[31mred\u001b[0m \u001b]0;title\u0007text\u0008\r")).toBe("red text ");
});
