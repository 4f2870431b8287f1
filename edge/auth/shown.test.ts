import { expect, test } from "vitest";
import { holdsKey, shownKey } from "./shown.ts";

test.each<[string, Record<string, string>, string | undefined, string[]]>([
  ["as OpenAI's clients send it", { authorization: "Bearer fl_a" }, "fl_a", ["authorization"]],
  ["however it is written", { authorization: "bEARER   fl_a  " }, "fl_a", ["authorization"]],
  ["as Anthropic's clients send it", { "x-api-key": "fl_a" }, "fl_a", ["x-api-key"]],
  ["as Azure's clients send it", { "api-key": "fl_a" }, "fl_a", ["api-key"]],
  ["beside a key for the service", { authorization: "Bearer fl_a", "x-api-key": "theirs" }, "fl_a", ["authorization"]],
  ["beside the service's own Authorization", { authorization: "Bearer theirs", "x-api-key": "fl_a" }, "fl_a", ["x-api-key"]],
  ["beside the service's Basic", { authorization: "Basic dTpw", "api-key": "fl_a" }, "fl_a", ["api-key"]],
  ["in several places", { authorization: "Bearer fl_a", "x-api-key": "fl_a", "api-key": "fl_b" }, "fl_a", ["authorization", "x-api-key", "api-key"]],
  ["nowhere", { authorization: "fl_a", "x-api-key": "theirs", "x-other": "fl_a" }, undefined, []],
])("a key of ours %s is found, and kept from services", (_name, given, key, held) => {
  const headers = new Headers(given);
  expect(shownKey(headers)).toBe(key);
  expect(Object.keys(given).filter((name) => holdsKey(name, headers.get(name) ?? ""))).toEqual(held);
});
