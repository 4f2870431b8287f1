import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Bundle, RouteKey } from "../../schema/bundle.ts";
import { keyDigest, newKey, pepperKey } from "../../schema/key.ts";
import { workerdCommand } from "../local/workerd.ts";
import type { BuiltWorker, WorkerName } from "../local/workers.ts";
import { launch, listening, type Child } from "./children.ts";
import { freePort } from "./port.ts";

/** Variables and secrets of both Workers. */
export const values = {
  FAIRLEAD_REGIONS: "local",
  FAIRLEAD_LOCAL: "1",
  FAIRLEAD_KEY_PEPPER: "bench-pepper",
  FAIRLEAD_CONTROL_TOKEN: "bench-control",
  FAIRLEAD_SHARED_KEY: "bench-shared",
  FAIRLEAD_TICKET_KEY: "bench-ticket",
};

/** Router and fleet in one workerd process. */
export interface RunningWorkers {
  child: Child;
  /** Origin of the router. */
  router: string;
  /** Origin of the fleet Worker. */
  fleet: string;
  inspectorUrl: string | undefined;
}

export interface WorkersOptions {
  workers: Record<WorkerName, BuiltWorker>;
  /** Folder for configuration, objects and logs. */
  workDir: string;
  port: number;
  /** The same ports again after a restart. */
  fleetPort?: number;
  inspectorPort?: number | undefined;
  cpu: number | undefined;
}

/** The workerd binary with the configuration that Wrangler would deploy. */
export async function startWorkers({ workers, workDir, port, fleetPort, inspectorPort, cpu }: WorkersOptions): Promise<RunningWorkers> {
  const ownFleetPort = fleetPort ?? (await freePort());
  const { command: [program, ...args], env } = workerdCommand({ workers, state: workDir, routerPort: port, fleetPort: ownFleetPort, values });
  const inspector = inspectorPort === undefined ? [] : ["--inspector-addr", `127.0.0.1:${inspectorPort}`];
  const child = launch([program, ...args, ...inspector], { cpu, env, log: join(workDir, "log") });
  await listening(child, port, 15_000);
  return {
    child,
    router: `http://127.0.0.1:${port}`,
    fleet: `http://127.0.0.1:${ownFleetPort}`,
    inspectorUrl: inspectorPort === undefined ? undefined : `ws://127.0.0.1:${inspectorPort}/router`,
  };
}

/** A key of the account "bench", and its record in a bundle. */
export async function benchKey(): Promise<{ key: string; record: RouteKey }> {
  const { id, key } = newKey("fl");
  return { key, record: { id, digest: await keyDigest(key, await pepperKey(values.FAIRLEAD_KEY_PEPPER)), account: "bench", rights: ["inference"] } };
}

/** Publish a bundle as control does. A fleet that has only just started may need more than one attempt. */
export async function publish(router: string, bundle: Bundle): Promise<void> {
  for (let tries = 0; ; tries++) {
    const response = await fetch(`${router}/internal/bundle`, { method: "PUT", headers: { authorization: `Bearer ${values.FAIRLEAD_CONTROL_TOKEN}` }, body: JSON.stringify(bundle) });
    if (response.ok) return;
    if (tries === 20) throw new Error(`it refused the bundle: ${response.status} ${await response.text()}`);
    await wait(100);
  }
}
