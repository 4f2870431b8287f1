import { expect, test } from "vitest";
import { parseBytes } from "./resources.ts";

test.each<[string, string | undefined, number | undefined]>([
  ["512MiB", undefined, 512 * 2 ** 20],
  ["1.5 GB", undefined, 1.5e9],
  ["64gib", undefined, 64 * 2 ** 30],
  ["16", "gib", 16 * 2 ** 30],
  ["16", undefined, undefined],
  ["16+", "gib", undefined],
  ["0", "gib", undefined],
  ["much", "gib", undefined],
  ["-1GiB", undefined, undefined],
])("parseBytes(%j, %j) is %j", (text, unit, bytes) => {
  expect(parseBytes(text, unit)).toBe(bytes);
});
