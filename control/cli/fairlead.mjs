#!/bin/sh
":" //; exec /usr/bin/env node -- "$0" "$@" # else Node takes our --env-file for its own; `env -S node --` is not known everywhere
// The bin: plain JavaScript for any Node from 20 on. The rest is TypeScript, which newer ones run as it is.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import module from "node:module";
import { fileURLToPath } from "node:url";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const stripsTypes = major >= 24 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18);
const ownNode = fileURLToPath(new URL("../../node_modules/.bin/node", import.meta.url));

if (stripsTypes) {
  // starts twice as fast from the second time on
  module.enableCompileCache?.();
  await import("./main.ts");
} else if (process.env.FAIRLEAD_OWN_NODE === undefined && existsSync(ownNode)) {
  const child = spawn(ownNode, ["--", fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit", env: { ...process.env, FAIRLEAD_OWN_NODE: "1" } });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`fairlead: Cannot start ${ownNode}: ${error.message}`);
    process.exitCode = 1;
  });
  child.on("exit", (code) => {
    process.exitCode = code ?? 1;
  });
} else {
  console.error(`fairlead: Cannot run on Node ${process.versions.node}: it needs Node 22.18 or newer, or its own, which npm ci in ${fileURLToPath(new URL("../..", import.meta.url))} brings`);
  process.exitCode = 1;
}
