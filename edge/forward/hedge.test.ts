import { describe, expect, test } from "vitest";
import { firstGood, type First, type Run } from "./hedge.ts";

interface Held extends Run<string> {
  give: (result: string) => void;
  abandoned: boolean;
}

function held(): Held {
  const { promise, resolve } = Promise.withResolvers<string>();
  const run: Held = { result: promise, give: resolve, abandoned: false, abandon: () => void (run.abandoned = true) };
  return run;
}

const good = (text: string): boolean => text.startsWith("good");

describe("firstGood()", () => {
  test.each([0, 1])("the first good result wins, and the other run is given up (%d)", async (winner) => {
    const runs = [held(), held()] as const;
    const failed: First<string>[] = [];
    const work = firstGood(runs, good, (first) => failed.push(first));
    runs[winner]?.give("good");
    expect(await work).toEqual({ result: "good", index: winner });
    expect(runs.map(({ abandoned }) => abandoned)).toEqual([winner !== 0, winner !== 1]);
    expect(failed).toEqual([]);
  });

  test.each([["good", false], ["bad too", false]])("after a failure the other run decides: %j", async (later, abandoned) => {
    const runs = [held(), held()] as const;
    const failed: First<string>[] = [];
    const work = firstGood(runs, good, (first) => failed.push(first));
    runs[0].give("bad");
    runs[1].give(later);
    expect(await work).toEqual({ result: later, index: 1 });
    expect(failed).toEqual([{ result: "bad", index: 0 }]);
    expect(runs.map((run) => run.abandoned)).toEqual([abandoned, abandoned]);
  });
});
