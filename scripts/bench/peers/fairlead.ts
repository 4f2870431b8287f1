import { join } from "node:path";
import { routeServiceSchema, type Bundle } from "../../../schema/bundle.ts";
import { encrypt, sharedKey } from "../../../schema/seal.ts";
import { buildWorkers, type BuiltWorker, type WorkerName } from "../../local/workers.ts";
import { model } from "../exchange.ts";
import { endpoint } from "../upstream.ts";
import { benchKey, publish, startWorkers, values } from "../workers-running.ts";
import type { Peer } from "./peer.ts";

let workers: Record<WorkerName, BuiltWorker> | undefined;

/** One service whose upstream is a provider: the way that compares with a gateway's. The provider's key is sealed, as control does it. */
async function benchBundle(upstreamUrl: string): Promise<{ bundle: Bundle; key: string }> {
  const { key, record } = await benchKey();
  const sealedApiKey = await encrypt(await sharedKey(values.FAIRLEAD_SHARED_KEY), "provider:bench:upstream", "sk-upstream");
  const provider = { name: "upstream", endpoint: `${upstreamUrl}/v1`, dialect: "openai" as const, sealedApiKey };
  const service = routeServiceSchema.parse({ name: "bench", version: 1, models: [model], listed: true, createdAt: 1, providers: [provider], selfHosted: false, timeouts: { ttftMs: 120_000, totalMs: 600_000 }, bodyBytesMax: 1_000_000 });
  return { key, bundle: { route: { version: 1, publishedAt: 1, services: [service], keys: [record] }, fleet: { hosts: [], services: [], removed: [] } } };
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
    const { child, router, inspectorUrl } = await startWorkers({ workers, workDir, port, inspectorPort, cpu });
    const { bundle, key } = await benchBundle(upstreamUrl);
    await publish(router, bundle);
    return { url: endpoint(router), headers: { authorization: `Bearer ${key}` }, pids: [child.pid], inspectorUrl, stop: () => child.end() };
  },
};
