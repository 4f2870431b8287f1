import { expect, test } from "vitest";
import { pullProgress, type PullEvent } from "./progress.ts";

const down = (id: string, current: number, total: number): PullEvent => ({ id, status: "Downloading", progressDetail: { current, total } });

test("pullProgress() weighs layers by size, never goes back, and tells pulling from unpacking", () => {
  const say = pullProgress("x:1");
  const said: [PullEvent, string | undefined][] = [
    [{ id: "1", status: "Pulling from library/x" }, undefined],
    [{ id: "old", status: "Already exists" }, undefined],
    [{ id: "a", status: "Pulling fs layer" }, "pulling x:1: 0 %"],
    [{ id: "b", status: "Waiting" }, "pulling x:1: 0 %"],
    [down("a", 50, 100), "pulling x:1: 25 %"],
    // the second turns out to be nine times the first: what was said stands
    [down("b", 0, 900), "pulling x:1: 25 %"],
    [down("b", 450, 900), "pulling x:1: 50 %"],
    [{ id: "a", status: "Download complete" }, "pulling x:1: 55 %"],
    [{ id: "b", status: "Verifying Checksum" }, "unpacking x:1: 0 %"],
    [{ id: "b", status: "Extracting", progressDetail: { current: 450, total: 900 } }, "unpacking x:1: 45 %"],
    [{ id: "a", status: "Pull complete" }, "unpacking x:1: 55 %"],
    [{ id: "b", status: "Pull complete" }, "unpacking x:1: 100 %"],
    [{ status: "Digest: sha256:00" }, undefined],
    [{ id: "a", status: "Downloading", progressDetail: { current: 1, total: 0 } }, "unpacking x:1: 100 %"],
  ];
  expect(said.map(([event]) => say(event))).toEqual(said.map(([, text]) => text));
});
