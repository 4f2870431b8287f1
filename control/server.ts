import { readEnvironment } from "./environment.ts";
import { startControl } from "./start.ts";

/** The Node entry: settings from the environment, one line when it listens, gone within a second of SIGTERM. */
try {
  const control = await startControl(readEnvironment(process.env));
  console.log(`control listening on ${control.url}`);
  const stop = () => {
    // a database that does not let go must not keep the process
    setTimeout(() => process.exit(0), 900).unref();
    void control.close().finally(() => process.exit(0));
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
