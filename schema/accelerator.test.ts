import { describe, expect, test } from "vitest";
import { gpusOn, qpsOn, suits } from "./accelerator.ts";

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

describe("what one replica serves, by rates for accelerators", () => {
  const targets = { "A100:8": 20, L4: 2.5, "H100:1": 8, "H100:2": 16 };
  test.each([
    { accelerator: "A100:8", qps: 20, by: "its name" }, { accelerator: "L4", qps: 2.5, by: "its name" }, { accelerator: "A100", qps: 20, by: "the name before the count" },
    { accelerator: "a100:4", qps: 20, by: "the name before the count, in any case" }, { accelerator: "H100", qps: 8, by: "the least of several counts" },
    { accelerator: "T4", qps: 2.5, by: "the least of all" }, { accelerator: undefined, qps: 2.5, by: "the least of all" },
  ])("$accelerator serves $qps by $by", ({ accelerator, qps }) => {
    expect(qpsOn(targets, accelerator)).toBe(qps);
  });
});
