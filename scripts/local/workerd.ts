import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import type { BuiltWorker, WorkerName } from "./workers.ts";

/** The binary of this platform; the package's own launcher would put a Node process in between. */
export const workerdBinary = (): string => (createRequire(import.meta.url)("workerd") as { default: string }).default;

export interface WorkerdOptions {
  workers: Record<WorkerName, BuiltWorker>;
  /** Where the configuration, Durable Objects and KV live. */
  state: string;
  routerPort: number;
  fleetPort: number;
  /** Variables and secrets of both Workers. Secrets reach workerd through its environment, not its configuration file. */
  values: Record<string, string>;
}

const text = (value: string): string => JSON.stringify(value);

function bindings(worker: BuiltWorker, values: Record<string, string>): string {
  const list: string[] = [];
  for (const { binding, className, scriptName } of worker.objects) {
    list.push(scriptName === undefined ? `(name = ${text(binding)}, durableObjectNamespace = ${text(className)})` : `(name = ${text(binding)}, durableObjectNamespace = (className = ${text(className)}, serviceName = "fleet"))`);
  }
  for (const binding of worker.kv) list.push(`(name = ${text(binding)}, kvNamespace = "kv")`);
  for (const name of new Set([...Object.keys(worker.vars), ...worker.secrets, ...Object.keys(values)])) list.push(`(name = ${text(name)}, fromEnvironment = ${text(name)})`);
  return list.join(",\n    ");
}

function flags(worker: BuiltWorker): string {
  return worker.compatibilityFlags.map(text).join(", ");
}

/**
 * workerd's own configuration (Cap'n Proto text) for what Wrangler would deploy: both Workers in one process, Durable Objects and
 * KV on disk.
 */
export function workerdConfig({ workers: { router, fleet }, state, routerPort, fleetPort, values }: WorkerdOptions): string {
  const classes = fleet.objects.map(({ className }) => `(className = ${text(className)}, uniqueKey = ${text(`fairlead-${className}`)}, enableSql = true)`).join(", ");
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "router", worker = .router),
    (name = "fleet", worker = .fleet),
    (name = "objects", disk = (path = ${text(join(state, "objects"))}, writable = true)),
    (name = "kv", disk = (path = ${text(join(state, "kv"))}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [
    (name = "router", address = "127.0.0.1:${routerPort}", http = (), service = "router"),
    (name = "fleet", address = "127.0.0.1:${fleetPort}", http = (), service = "fleet"),
  ]
);

const router :Workerd.Worker = (
  modules = [(name = "router.js", esModule = embed ${text(relative(state, router.script))})],
  compatibilityDate = ${text(router.compatibilityDate)},
  compatibilityFlags = [${flags(router)}],
  bindings = [
    ${bindings(router, values)}
  ]
);

const fleet :Workerd.Worker = (
  modules = [(name = "fleet.js", esModule = embed ${text(relative(state, fleet.script))})],
  compatibilityDate = ${text(fleet.compatibilityDate)},
  compatibilityFlags = [${flags(fleet)}],
  durableObjectNamespaces = [${classes}],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [
    ${bindings(fleet, values)}
  ]
);
`;
}

/** How the workerd binary is started on a configuration: it is written to `state`, mode 0600. */
export function workerdCommand(options: WorkerdOptions): { command: [string, ...string[]]; env: Record<string, string> } {
  const { state, values, workers } = options;
  for (const folder of ["objects", "kv"]) mkdirSync(join(state, folder), { recursive: true });
  const file = join(state, "workerd.capnp");
  writeFileSync(file, workerdConfig(options), { mode: 0o600 });
  return { command: [workerdBinary(), "serve", file], env: { PATH: process.env["PATH"] ?? "", ...workers.router.vars, ...workers.fleet.vars, ...values } };
}

/** Start workerd in a process group of its own, its output into a file descriptor. */
export function startWorkerd(options: WorkerdOptions, output: number): ChildProcess {
  const { command: [program, ...args], env } = workerdCommand(options);
  return spawn(program, args, { env, stdio: ["ignore", output, output], detached: true });
}
