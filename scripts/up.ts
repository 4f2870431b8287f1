import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { endLeftovers } from "./local/leftovers.ts";
import { help, readOptions, type UpOptions } from "./local/options.ts";
import { forgetPid, Part, rememberPid, startNode } from "./local/part.ts";
import { claimPort } from "./local/ports.ts";
import { loadSecrets, saveSecrets, type WorldSecrets } from "./local/secrets.ts";
import { bold, done, say, showStream, warn } from "./local/show.ts";
import { builtWorkers, buildWorkers } from "./local/workers.ts";
import { startWorkerd } from "./local/workerd.ts";

const root = join(import.meta.dirname, "..");
/** All parts together must be gone within five seconds of Ctrl-C. */
const stopMs = { agent: 3_500, control: 1_000, workerd: 1_000 };

interface World {
  options: UpOptions;
  secrets: WorldSecrets;
  urls: { router: string; fleet: string; control: string };
  parts: Part[];
}

/** Ask until it is so, or say what was waited for. */
async function until(what: string, ask: () => Promise<boolean>, part: Part, ms = 60_000): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end; await wait(50)) {
    if (stopping) throw new Error("stopped");
    if (await ask().catch(() => false)) return;
  }
  throw new Error(`Cannot start: ${what} did not happen within ${ms / 1000} s. The end of ${part.log}:\n${part.tail()}`);
}

async function admin(world: World, method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(world.urls.control + path, {
    method,
    headers: { authorization: `Bearer ${world.secrets.adminKey}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`Cannot ${method} ${path} at control: status ${response.status}: ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
}

function parts({ options, secrets, urls }: World, workers: Awaited<ReturnType<typeof buildWorkers>>): Record<"workerd" | "control" | "agent", Part> {
  const { state } = options;
  const died = (name: string, how: string): void => warn(`${name} ${how}; starting it again (log: ${join(state, "logs", `${name}.log`)})`);
  const port = (url: string): number => Number(new URL(url).port);
  return {
    workerd: new Part({
      name: "workerd", state, died,
      start: (output) =>
        startWorkerd(
          {
            workers,
            state: join(state, "workerd"),
            routerPort: port(urls.router),
            fleetPort: port(urls.fleet),
            values: {
              FAIRLEAD_REGIONS: "local",
              FAIRLEAD_LOCAL: "1",
              FAIRLEAD_KEY_PEPPER: secrets.pepper,
              FAIRLEAD_CONTROL_TOKEN: secrets.controlToken,
              FAIRLEAD_SHARED_KEY: secrets.sharedKey,
              FAIRLEAD_TICKET_KEY: secrets.ticketKey,
            },
          },
          output,
        ),
    }),
    control: new Part({
      name: "control", state, died,
      start: (output) =>
        startNode(
          join(root, "control/server.ts"), [],
          {
            FAIRLEAD_CONTROL_PORT: String(port(urls.control)),
            FAIRLEAD_CONTROL_HOST: "127.0.0.1",
            FAIRLEAD_DATABASE_URL: `file:${join(state, "control.db")}`,
            FAIRLEAD_EDGE_URL: urls.router,
            FAIRLEAD_PUBLIC_URL: urls.router,
            FAIRLEAD_FLEET_URL: urls.fleet,
            FAIRLEAD_REGIONS: "local",
            FAIRLEAD_KEY_PEPPER: secrets.pepper,
            FAIRLEAD_CONTROL_TOKEN: secrets.controlToken,
            FAIRLEAD_SHARED_KEY: secrets.sharedKey,
            FAIRLEAD_ADMIN_KEY: secrets.adminKey,
          },
          output, root,
        ),
    }),
    agent: new Part({
      name: "agent", state, died,
      start: (output) => startNode(join(root, "agent/index.ts"), ["run", "--config", join(state, "agent.yaml")], {}, output, state),
    }),
  };
}

/** The agent's own configuration. `trust: unsigned` is written here, for a world on one machine, and nowhere else. */
function writeAgentConfig({ options: { state }, urls }: World): void {
  const lines = [`state: ${JSON.stringify(join(state, "agent"))}`, `fleet_url: ${urls.fleet}`, "trust: unsigned", "drain: 2s", "reclaim: {cloud: none}"];
  writeFileSync(join(state, "agent.yaml"), `${lines.join("\n")}\n`);
}

/** Enrol this machine, as `fairlead hosts invite` and `fairlead-agent join` do for any other. */
async function enrol(world: World): Promise<void> {
  const { state } = world.options;
  if (existsSync(join(state, "agent/identity.json"))) return;
  const { token } = await admin(world, "POST", "/v1/hosts/invites", { region: "local", name: hostname().slice(0, 64) || "local" });
  const log = openSync(join(state, "logs/agent.log"), "a");
  const child = spawn(process.execPath, [join(root, "agent/index.ts"), "join", "--control", world.urls.control, "--token-file", "-", "--config", join(state, "agent.yaml")], { stdio: ["pipe", log, log], cwd: state });
  child.stdin?.end(String(token));
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`Cannot enrol this machine: fairlead-agent join exited with ${code}; see ${join(state, "logs/agent.log")}`);
}

async function apiKey(world: World): Promise<string> {
  if (world.secrets.apiKey !== undefined) return world.secrets.apiKey;
  const { key } = await admin(world, "POST", "/v1/keys", { name: "local", rights: ["inference", "metrics"] });
  world.secrets = { ...world.secrets, apiKey: String(key) };
  saveSecrets(world.options.state, world.secrets);
  return String(key);
}

/** Apply a service as a person would, with its progress on the terminal. */
async function applyFile(world: World, file: string): Promise<void> {
  const child = spawn(process.execPath, [join(root, "control/cli/main.ts"), "up", file, "-y"], {
    cwd: file.startsWith(root) ? root : process.cwd(),
    stdio: "inherit",
    env: { ...process.env, FAIRLEAD_CONTROL_URL: world.urls.control, FAIRLEAD_ADMIN_KEY: world.secrets.adminKey },
  });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`Cannot apply ${file}: fairlead up exited with ${code}`);
}

/** The first model that the router lists; its view may be a second older than what was just applied. */
async function firstModel(router: string, key: string): Promise<string | undefined> {
  for (const end = Date.now() + 3_000; Date.now() < end; await wait(100)) {
    const models = (await (await fetch(`${router}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).json()) as { data?: { id: string }[] };
    if (models.data?.[0] !== undefined) return models.data[0].id;
  }
  return undefined;
}

function writeUp(world: World, key: string, hosts: unknown): void {
  const { router, control } = world.urls;
  const up = { endpoint: `${router}/v1`, apiKey: key, control, adminKey: world.secrets.adminKey, metrics: `${router}/metrics`, pid: process.pid, hosts };
  const file = join(world.options.state, "up.json");
  rmSync(file, { force: true });
  writeFileSync(file, JSON.stringify(up, null, 2), { mode: 0o600 });
}

function printNext(world: World, key: string, model: string | undefined): void {
  const { router } = world.urls;
  const state = world.options.state === join(root, ".fairlead") ? "" : `FAIRLEAD_CONTROL_URL=${world.urls.control} FAIRLEAD_ADMIN_KEY=… `;
  say(`\n${bold("Fairlead is up.")} Try next:\n`);
  if (model !== undefined) {
    say(`  curl -N ${router}/v1/chat/completions -H "authorization: Bearer ${key}" -H "content-type: application/json" \\\n    -d '{"model":"${model}","stream":true,"messages":[{"role":"user","content":"Hello!"}]}'\n`);
  }
  say(`  ${state}npx fairlead status --watch\n  ${state}npx fairlead up examples/http-server.yaml\n  ${state}npx fairlead logs NAME\n`);
  say(`Endpoint ${router}/v1, keys and URLs in ${join(world.options.state, "up.json")}. Ctrl-C stops everything.`);
}

let stopping = false;
let world: World | undefined;

async function stop(code: number): Promise<never> {
  if (stopping) return new Promise(() => undefined);
  stopping = true;
  if (world !== undefined) {
    rmSync(join(world.options.state, "up.json"), { force: true });
    const [workerd, control, agent] = world.parts;
    // the agent first: it ends its replicas and says goodbye while there is someone to tell
    await agent?.stop(stopMs.agent);
    await Promise.all([control?.stop(stopMs.control), workerd?.stop(stopMs.workerd)]);
    forgetPid(world.options.state, "up");
  }
  process.exit(code);
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === "help") return void process.stdout.write(help);
  const { state } = options;
  mkdirSync(join(state, "logs"), { recursive: true, mode: 0o700 });
  await endLeftovers(state);
  const claims = { router: await claimPort(options.port, "--port"), control: await claimPort(options.controlPort, "--control-port"), fleet: await claimPort(options.fleetPort, "--fleet-port") };
  rememberPid(state, "up", process.pid);
  rmSync(join(state, "up.json"), { force: true });
  world = {
    options,
    secrets: loadSecrets(state),
    urls: { router: `http://127.0.0.1:${claims.router.port}`, control: `http://127.0.0.1:${claims.control.port}`, fleet: `http://127.0.0.1:${claims.fleet.port}` },
    parts: [],
  };
  const { urls } = world;
  let since = Date.now();
  const workers = await buildWorkers(builtWorkers);
  done("Workers bundled", since);

  since = Date.now();
  const { workerd, control, agent } = parts(world, workers);
  world.parts = [workerd, control, agent];
  for (const { release } of Object.values(claims)) await release();
  workerd.start();
  control.start();
  await until("the router's answer", async () => (await fetch(`${urls.router}/healthz`)).ok, workerd);
  await until("control's answer", async () => (await fetch(`${urls.control}/healthz`)).ok, control);
  await until("the first bundle", async () => (await fetch(`${urls.router}/readyz`)).ok, control);
  done(`Router on ${urls.router}, control on ${urls.control}`, since);

  since = Date.now();
  writeAgentConfig(world);
  await enrol(world);
  agent.start();
  const key = await apiKey(world);
  let hosts: unknown;
  await until("the agent's link", async () => {
    const status = (await admin(world as World, "GET", "/v1/status")) as { hosts?: { linkUp: boolean; relays: number[] }[] };
    hosts = status.hosts;
    return status.hosts?.some(({ linkUp, relays }) => linkUp && relays.length > 0) ?? false;
  }, agent);
  done("Agent enrolled and connected", since);

  const files = options.files.length > 0 ? options.files : options.example ? [join(root, "examples/hello.yaml")] : [];
  for (const file of files) await applyFile(world, file);
  const model = files.length > 0 ? await firstModel(urls.router, key) : undefined;
  if (model !== undefined) await showStream(`${urls.router}/v1`, key, model);
  writeUp(world, key, hosts);
  printNext(world, key, model);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void stop(0));

try {
  await main();
} catch (error) {
  if (!stopping) {
    console.error(`fairlead: ${error instanceof Error ? error.message : String(error)}`);
    await stop(1);
  }
}
