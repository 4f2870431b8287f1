import { expect, test } from "vitest";
import { parseMetrics } from "./prometheus.ts";

test.each<[string, string, object[] | undefined]>([
  ["a bare series", "m 3", [{ labels: {}, value: 3 }]],
  ["a time after the value", "m 0.125 1700000000000", [{ labels: {}, value: 0.125 }]],
  ["labels, with a comma at their end", 'm{a="1",b="2",} 4', [{ labels: { a: "1", b: "2" }, value: 4 }]],
  ["a label with braces, quotes, a backslash and a line break", String.raw`m{a="x } \"y\" \\ \n z"} 5`, [{ labels: { a: 'x } "y" \\ \n z' }, value: 5 }]],
  ["an exponent", "m 8.1e+06", [{ labels: {}, value: 8_100_000 }]],
  ["several series, those with a longer name left to it", 'm{e="0"} 1\nm{e="1"} 2\nm_more 9', [{ labels: { e: "0" }, value: 1 }, { labels: { e: "1" }, value: 2 }]],
  ["a line that is cut off before it", 'm{a="1\nm 7', [{ labels: {}, value: 7 }]],
  ["white space of Windows at the end", "m 7\r\n", [{ labels: {}, value: 7 }]],
  ["no number", "m NaN", undefined],
  ["infinity", "m +Inf", undefined],
  ["a negative value", "m -1", undefined],
  ["a comment of that name", "# HELP m is a metric\n# m 1", undefined],
  ["a line without a value", "m", undefined],
  ["an HTML page", "<html><body>m 1</body></html>", undefined],
])("parseMetrics() reads %s", (_, text, samples) => {
  expect(parseMetrics(text).get("m")).toEqual(samples);
});

test("parseMetrics() leaves histograms' buckets out, and keeps their sums", () => {
  const metrics = parseMetrics('h_bucket{le="1"} 1\nh_sum 4\nh_count 2\n');
  expect([...metrics.keys()]).toEqual(["h_sum", "h_count"]);
});
