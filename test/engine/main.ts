import { setTimeout as wait } from "node:timers/promises";
import { startEngine } from "./server.ts";
import { HELP, readSettings } from "./settings.ts";
import type { Settings } from "./settings.ts";

async function run(settings: Settings): Promise<void> {
  // A signal that comes while starting ends the process by default, which is what vLLM does too.
  if (settings.ignoreSigterm) process.on("SIGTERM", () => console.log("SIGTERM ignored"));
  if (settings.startDelayMs > 0) await wait(settings.startDelayMs);
  const running = await startEngine(settings);
  console.log(`engine listening on ${running.url}`);
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    console.log(`${signal}: stopping, ${running.engine.log.stats.inFlight} in flight`);
    await running.stop(settings.shutdownTimeoutMs);
    process.exit(0);
  };
  process.once("SIGINT", (signal) => void stop(signal));
  if (!settings.ignoreSigterm) process.once("SIGTERM", (signal) => void stop(signal));
}

try {
  const settings = readSettings(process.argv.slice(2), process.env);
  if (settings === undefined) process.stdout.write(HELP);
  else await run(settings);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
