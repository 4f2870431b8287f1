import { expect, test } from "vitest";
import { nameIn, shownName } from "./names.ts";

test.each([["org%2Fmodel", "org/model"], ["caf%C3%A9", "café"], ["%E0%A4%A", "%E0%A4%A"], ["100%", "100%"]])("nameIn(%s) is %s", (part, name) => {
  expect(nameIn(part)).toBe(name);
});

test("shownName() repeats no more of a name than one may have", () => {
  expect(shownName("m".repeat(200))).toBe("m".repeat(200));
  expect(shownName("m".repeat(20_000_000))).toBe(`${"m".repeat(200)}…`);
});
