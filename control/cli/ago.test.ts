import { expect, test } from "vitest";
import { agoInWords } from "./ago.ts";

const [now, minuteMs, hourMs, dayMs] = [1_000_000_000_000, 60_000, 3_600_000, 86_400_000];

test.each([
  [0, "a few secs ago"], [-5_000, "a few secs ago"], [10_999, "a few secs ago"], [11_000, "11 secs ago"], [59_999, "59 secs ago"],
  [minuteMs, "1 min ago"], [3 * minuteMs + 20_000, "3 mins ago"], [hourMs - 1, "59 mins ago"], [hourMs, "1 hr ago"], [23 * hourMs, "23 hrs ago"],
  [dayMs, "1 day ago"], [6 * dayMs, "6 days ago"], [7 * dayMs, "1 week ago"], [70 * dayMs, "10 weeks ago"],
])("%d ms are told as %s", (ms, words) => {
  expect(agoInWords(now - ms, now)).toBe(words);
});

test("what is not known is a dash", () => {
  expect(agoInWords(undefined, now)).toBe("-");
});
