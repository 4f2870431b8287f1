import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const bin = fileURLToPath(new URL("./fairlead.mjs", import.meta.url));

test.each(["stdout", "stderr"] as const)("fairlead whose %s nobody reads any more ends without a word, as in `fairlead … | head`", async (closed) => {
  const child = spawn(process.execPath, [bin, ...(closed === "stdout" ? ["--help"] : ["status", "--bogus"])]);
  child[closed].destroy();
  let said = "";
  child[closed === "stdout" ? "stderr" : "stdout"].on("data", (chunk: Buffer) => (said += chunk.toString()));
  expect([await new Promise((resolve) => child.once("close", resolve)), said]).toEqual([closed === "stdout" ? 0 : 2, ""]);
});
