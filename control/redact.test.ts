import { expect, test } from "vitest";
import { redactYaml } from "./redact.ts";

test.each([
  ["values of secrets", "# mine\nsecrets:\n  A: shh # why\n  B:\n  C: 'x'\nrun: a", "# mine\nsecrets:\n  A: null # why\n  B:\n  C: null\nrun: a"],
  ["a secret of several lines", "secrets:\n  A: |\n    one\n    two\nrun: a", "secrets:\n  A: null\nrun: a"],
  ["keys of providers", "service:\n  providers:\n    - {name: my-p, api_key: sk-1}\n    - {name: q, api_key: $Q}", "service:\n  providers:\n    - {name: my-p, api_key: ${MY_P_API_KEY}}\n    - {name: q, api_key: $Q}"],
  ["credentials in their headers", "service:\n  providers:\n    - {name: p, headers: {Authorization: Bearer x, x-api-key: $K, Cookie: 'Bearer ${C}', X-Title: t}}", "service:\n  providers:\n    - {name: p, headers: {Authorization: ${P_AUTHORIZATION}, x-api-key: $K, Cookie: 'Bearer ${C}', X-Title: t}}"],
  ["nothing else", "envs: {A: b}\nrun: echo $X", "envs: {A: b}\nrun: echo $X"],
])("redactYaml() takes out %s", (_name, text, expected) => {
  expect(redactYaml(text)).toBe(expected);
});
