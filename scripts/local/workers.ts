import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");

/** What `wrangler deploy` would upload, and with which settings. */
export interface BuiltWorker {
  /** The one module, as bundled by Wrangler. */
  script: string;
  compatibilityDate: string;
  compatibilityFlags: string[];
  /** Durable Object bindings: in which Worker the class lives. */
  objects: { binding: string; className: string; scriptName: string | undefined }[];
  kv: string[];
  vars: Record<string, string>;
  /** Secrets that the Worker requires. */
  secrets: string[];
}

/** Where worlds look for them: `scripts/test` fills it, so that no world has to. */
export const builtWorkers = join(root, "node_modules/.cache/fairlead/workers");

export type WorkerName = "router" | "fleet";
const configs: Record<WorkerName, string> = { router: "wrangler.toml", fleet: "wrangler.fleet.toml" };

function newest(folder: string): number {
  let latest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile() && entry.name.endsWith(".ts") && !entry.name.endsWith(".test.ts")) latest = Math.max(latest, statSync(join(entry.parentPath, entry.name)).mtimeMs);
  }
  return latest;
}

/**
 * Bundle one Worker as Wrangler would for a deploy; again only when a source is newer than the bundle. Several worlds may bundle into one
 * folder at a time: each has its own beneath it, and what is whole is put in place at once.
 */
async function build(name: WorkerName, into: string): Promise<BuiltWorker> {
  const settings = join(into, `${name}.json`);
  const sources = Math.max(newest(join(root, "edge")), newest(join(root, "schema")), statSync(join(root, configs[name])).mtimeMs, statSync(join(root, "package-lock.json")).mtimeMs);
  if (existsSync(settings) && statSync(settings).mtimeMs > sources) return JSON.parse(readFileSync(settings, "utf8")) as BuiltWorker;

  const { unstable_readConfig: readConfig } = await import("wrangler");
  const config = readConfig({ config: join(root, configs[name]) }, { hideWarnings: true });
  const own = mkdtempSync(join(into, `${name}-`));
  try {
    await bundle(name, own);
    const built: BuiltWorker = {
      script: join(into, `${name}.js`),
      compatibilityDate: config.compatibility_date ?? "",
      compatibilityFlags: config.compatibility_flags,
      objects: config.durable_objects.bindings.map(({ name: binding, class_name, script_name }: { name: string; class_name: string; script_name?: string }) => ({ binding, className: class_name, scriptName: script_name })),
      kv: config.kv_namespaces.map(({ binding }: { binding: string }) => binding),
      vars: Object.fromEntries(Object.entries(config.vars).map(([key, value]) => [key, String(value)])),
      secrets: config.secrets?.required ?? [],
    };
    writeFileSync(join(own, "settings.json"), JSON.stringify(built, null, 2));
    renameSync(join(own, `${name}.js`), built.script);
    renameSync(join(own, "settings.json"), settings);
    return built;
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

/** @throws Error with all that Wrangler said, when it fails */
async function bundle(name: WorkerName, into: string): Promise<void> {
  const child = spawn(process.execPath, [join(root, "node_modules/wrangler/bin/wrangler.js"), "deploy", "--dry-run", "--outdir", into, "-c", configs[name]], {
    cwd: root,
    env: { ...process.env, WRANGLER_SEND_METRICS: "false", CI: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`Cannot bundle the ${name} Worker: wrangler exited with ${code}\n${said}`);
}

/** Both Workers, bundled into a folder. */
export async function buildWorkers(into: string): Promise<Record<WorkerName, BuiltWorker>> {
  mkdirSync(into, { recursive: true });
  const [router, fleet] = await Promise.all([build("router", into), build("fleet", into)]);
  return { router, fleet };
}

if (process.argv[1] === import.meta.filename) await buildWorkers(builtWorkers);
