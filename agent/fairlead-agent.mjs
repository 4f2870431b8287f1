#!/usr/bin/env node
// Starts the agent with a Node that runs TypeScript: this one where it can, else the one that the project brings.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

const entry = new URL("./index.ts", import.meta.url);

if (process.features.typescript) {
  await import(entry.href);
} else {
  const other = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));
  const able = existsSync(other) && spawnSync(other, ["-p", "Boolean(process.features.typescript)"], { encoding: "utf8" }).stdout?.trim() === "true";
  if (!able) {
    console.error(`Cannot start the agent: Node ${process.versions.node} does not run TypeScript. Run \`npm ci\` in the project, or use Node 22.18 or newer.`);
    process.exit(1);
  }
  // The channel is never written to: it closes when this process ends, and the agent then ends as well.
  const child = spawn(other, [fileURLToPath(entry), ...process.argv.slice(2)], { stdio: ["inherit", "inherit", "inherit", "ipc"] });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`Cannot start the agent: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]));
}
