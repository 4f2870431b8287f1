import { expect, test } from "vitest";
import { table } from "./table.ts";

test.each([
  ["a line break", "a\nb", "a b"],
  ["what moves the cursor", "a\u001B[2Jb\u001B]0;title\u0007", "a [2Jb ]0;title"],
  ["our colours", "\u001B[32mREADY\u001B[39m", "\u001B[32mREADY\u001B[39m"],
  ["letters of all kinds", "ключ 名前", "ключ 名前"],
])("table() with %s", (_name, cell, shown) => {
  expect(table(["NAME"], [[cell]])).toBe(`NAME\n${shown}`);
});
