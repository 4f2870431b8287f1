import { spawn } from "node:child_process";
import { openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const bin = fileURLToPath(new URL("./fairlead.mjs", import.meta.url));

test("the bin's --env-file is its own, not Node's", async () => {
  const env = { PATH: process.env["PATH"], FAIRLEAD_CONTROL_URL: "http://127.0.0.1:9", FAIRLEAD_ADMIN_KEY: "fla_x" };
  const child = spawn(bin, ["up", "-", "--env-file", "none.env"], { env });
  child.stdin.end();
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  expect([await new Promise((resolve) => child.once("close", resolve)), said]).toEqual([1, expect.stringContaining("fairlead: Cannot read --env-file none.env")]);
});

test.each(["stdout", "stderr"] as const)("fairlead whose %s nobody reads any more ends without a word, as in `fairlead … | head`", async (closed) => {
  const child = spawn(process.execPath, [bin, ...(closed === "stdout" ? ["--help"] : ["status", "--bogus"])]);
  child[closed].destroy();
  let said = "";
  child[closed === "stdout" ? "stderr" : "stdout"].on("data", (chunk: Buffer) => (said += chunk.toString()));
  expect([await new Promise((resolve) => child.once("close", resolve)), said]).toEqual([closed === "stdout" ? 0 : 2, ""]);
});

test.runIf(process.platform === "linux")("fairlead that writes to a full disk says so in a line", async () => {
  const child = spawn(process.execPath, [bin, "validate", fileURLToPath(new URL("../../examples/hello.yaml", import.meta.url))], { stdio: ["ignore", openSync("/dev/full", "w"), "pipe"] });
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  expect([await new Promise((resolve) => child.once("close", resolve)), said]).toEqual([1, "fairlead: Cannot write: ENOSPC: no space left on device, write\n"]);
});
