import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { routeServiceSchema, type Bundle } from "../../../schema/bundle.ts";
import { keyDigest, newKey, pepperKey } from "../../../schema/key.ts";
import { encrypt, sharedKey } from "../../../schema/seal.ts";
import { buildWorkers, type BuiltWorker, type WorkerName } from "../../local/workers.ts";
import { workerdCommand } from "../../local/workerd.ts";
import { launch, listening } from "../children.ts";
import { model } from "../exchange.ts";
import { freePort } from "../port.ts";
import { endpoint } from "../upstream.ts";
import type { Peer } from "./peer.ts";

const values = {
  FAIRLEAD_REGIONS: "local",
  FAIRLEAD_LOCAL: "1",
  FAIRLEAD_KEY_PEPPER: "bench-pepper",
  FAIRLEAD_CONTROL_TOKEN: "bench-control",
  FAIRLEAD_SHARED_KEY: "bench-shared",
  FAIRLEAD_TICKET_KEY: "bench-ticket",
};

let workers: Record<WorkerName, BuiltWorker> | undefined;

/** One service whose upstream is a provider: the way that compares with a gateway's. The provider's key is sealed, as control does it. */
async function benchBundle(upstreamUrl: string): Promise<{ bundle: Bundle; key: string }> {
  const { id, key } = newKey("fl");
  const digest = await keyDigest(key, await pepperKey(values.FAIRLEAD_KEY_PEPPER));
  const sealedApiKey = await encrypt(await sharedKey(values.FAIRLEAD_SHARED_KEY), "provider:bench:upstream", "sk-upstream");
  const provider = { name: "upstream", endpoint: `${upstreamUrl}/v1`, dialect: "openai" as const, sealedApiKey };
  const service = routeServiceSchema.parse({ name: "bench", version: 1, models: [model], listed: true, createdAt: 1, providers: [provider], selfHosted: false, timeouts: { ttftMs: 120_000, totalMs: 600_000 }, bodyBytesMax: 1_000_000 });
  return {
    key,
    bundle: { route: { version: 1, publishedAt: 1, services: [service], keys: [{ id, digest, account: "bench", rights: ["inference"] }] }, fleet: { hosts: [], services: [], removed: [] } },
  };
}

/** The router, in the workerd binary with the configuration that Wrangler would deploy. */
export const fairlead: Peer = {
  name: "fairlead",
  async install(cacheDir) {
    workers = await buildWorkers(join(cacheDir, "workers"));
    return { version: "this checkout" };
  },
  async start({ upstreamUrl, port, inspectorPort, cpu, workDir }) {
    if (workers === undefined) return { skipped: "its Workers were not bundled" };
    const { command: [program, ...args], env } = workerdCommand({ workers, state: workDir, routerPort: port, fleetPort: await freePort(), values });
    const inspector = inspectorPort === undefined ? [] : ["--inspector-addr", `127.0.0.1:${inspectorPort}`];
    const child = launch([program, ...args, ...inspector], { cpu, env, log: join(workDir, "log") });
    await listening(child, port, 15_000);
    const { bundle, key } = await benchBundle(upstreamUrl);
    const origin = `http://127.0.0.1:${port}`;
    for (let tries = 0; ; tries++) {
      const response = await fetch(`${origin}/internal/bundle`, { method: "PUT", headers: { authorization: `Bearer ${values.FAIRLEAD_CONTROL_TOKEN}` }, body: JSON.stringify(bundle) });
      if (response.ok) break;
      if (tries === 20) throw new Error(`it refused the bundle: ${response.status} ${await response.text()}`);
      await wait(100);
    }
    return {
      url: endpoint(origin),
      headers: { authorization: `Bearer ${key}` },
      pids: [child.pid],
      inspectorUrl: inspectorPort === undefined ? undefined : `ws://127.0.0.1:${inspectorPort}/router`,
      stop: () => child.end(),
    };
  },
};
