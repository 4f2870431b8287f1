import { expect, test } from "vitest";
import { retryAfterMs } from "./retryAfter.ts";

const now = Date.UTC(2026, 10, 21, 12, 0, 0);

test.each<[string, Record<string, string>, number | undefined]>([
  ["nothing", {}, undefined],
  ["seconds", { "retry-after": "7" }, 7_000],
  ["a fraction of a second", { "retry-after": "1.5" }, 1_500],
  ["a fraction without its zero", { "retry-after": ".25" }, 250],
  ["zero", { "retry-after": "0" }, 0],
  ["blanks around it", { "retry-after": " 2 " }, 2_000],
  ["a negative number", { "retry-after": "-5" }, 0],
  ["a huge number", { "retry-after": "86400" }, 60_000],
  ["more digits than a number holds", { "retry-after": "9".repeat(400) }, 60_000],
  ["a date to come", { "retry-after": "Sat, 21 Nov 2026 12:00:03 GMT" }, 3_000],
  ["a date that has passed", { "retry-after": "Sat, 21 Nov 2026 11:59:00 GMT" }, 0],
  ["a date of another year", { "retry-after": "Sun, 21 Nov 2027 12:00:00 GMT" }, 60_000],
  ["the old form of a date", { "retry-after": "Saturday, 21-Nov-26 12:00:10 GMT" }, 10_000],
  ["a word", { "retry-after": "soon" }, undefined],
  ["the empty text", { "retry-after": "" }, undefined],
  ["a hexadecimal number", { "retry-after": "0x10" }, undefined],
  ["an exponent", { "retry-after": "1e3" }, undefined],
  ["two numbers", { "retry-after": "3, 4" }, undefined],
  ["milliseconds", { "retry-after-ms": "250" }, 250],
  ["milliseconds, which are finer than seconds", { "retry-after-ms": "1250.4", "retry-after": "2" }, 1_250],
  ["negative milliseconds", { "retry-after-ms": "-1" }, 0],
  ["milliseconds that cannot be read", { "retry-after-ms": "junk", "retry-after": "2" }, 2_000],
])("retryAfterMs() of %s", (_, headers, ms) => {
  expect(retryAfterMs(new Headers(headers), now)).toBe(ms);
});
