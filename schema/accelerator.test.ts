import { expect, test } from "vitest";
import { gpusOn, suits } from "./accelerator.ts";

const set = { gpus: 8, accelerators: [{ name: "L4", count: 8 }, { name: "A10G", count: 8 }, { name: "A100", count: 1 }, { name: "T4", count: 0.5 }] };

test.each([
  ["L4", true, 8], ["a100", true, 1], ["T4", true, 1], ["A100-80GB", false, 8], ["H100", false, 8], [undefined, true, 8],
])("a set of accelerators on %s: suits %s, takes %s", (name, does, gpus) => {
  expect(suits(set, name)).toBe(does);
  expect(gpusOn(set, name)).toBe(gpus);
});

test("a task that names none runs on any, with its number", () => {
  expect([suits({ gpus: 2 }, "L4"), gpusOn({ gpus: 2 }, "L4"), suits({ gpus: 2, accelerators: [] }, "L4")]).toEqual([true, 2, true]);
});
