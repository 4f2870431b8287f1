import { expect, test } from "vitest";
import { besideV1 } from "./detokenize.ts";

test.each([
  ["http://one.test/v1/detokenize", "http://one.test/detokenize"],
  ["http://one.test/detokenize", "http://one.test/detokenize"],
  ["http://one.test/engines/a/v1/detokenize?api-version=1", "http://one.test/engines/a/detokenize?api-version=1"],
  ["http://one.test/v1/detokenize/v1/detokenize", "http://one.test/v1/detokenize/detokenize"],
])("besideV1(%s) is %s", (url, beside) => {
  expect(besideV1(url)).toBe(beside);
});
