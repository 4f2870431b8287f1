import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join as joinPath, resolve } from "node:path";
import { Command, CommanderError } from "commander";
import { systemClock } from "../schema/clock.ts";
import { ConfigError, parseConfig, type Config } from "./config.ts";
import { IdentityError } from "./identity.ts";
import { join } from "./join.ts";
import { createLog, type Fields, type Log } from "./log.ts";
import { keepRecent } from "./recent.ts";
import { rotate } from "./rotate.ts";
import { runAgent, type Agent } from "./run.ts";
import { createScrubber } from "./scrub.ts";

const program = new Command("fairlead-agent")
  .version((JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version)
  .description("Runs a fleet's replicas on this host and carries requests to them. It dials out; no inbound port is needed.")
  .showHelpAfterError("(fairlead-agent --help says more)")
  .exitOverride();

program
  .command("run", { isDefault: true })
  .description("run the agent in the foreground until SIGTERM, which drains")
  .option("--config <file>", "the host's configuration, YAML or JSON (default: /etc/fairlead/agent.yaml, then ~/.config/fairlead/agent.yaml)")
  .addHelpText("after", `
A configuration, with what is there when a line is absent:
  state: /var/lib/fairlead     # root; ~/.local/state/fairlead for others
  trust: templates             # or signed-specs; "unsigned" lets services run any command on this host
  templates: FILE              # what "templates" may run; root's, and nobody else may write it
  operator_keys: [FILE]        # whose signatures "signed-specs" takes, beside those given at join
  override: FILE               # {stop, max_replicas, allowed_services}: what no server can widen
  paths: []                    # what the gate lets through to engines, beside inference
  drain: 30s                   # what SIGTERM waits for requests in flight
  kill_after: 5s               # from SIGTERM to SIGKILL of a replica
  relays: 2                    # data links; up to 4 on a large host
  transport: relay             # or {direct: {listen: "0.0.0.0:8443", url: "https://gpu7.example.com", tls: {cert: FILE, key: FILE}}}
  reclaim: {cloud: auto}       # whose spot notices are watched: aws, gcp, azure, alibaba, none
  zone: us-east-1a             # what kind of host this is: the cloud's word, where it is known
  spot: false                  # it may be taken back at any time
  accelerator: A100-80GB       # as SkyPilot names it; by what nvidia-smi says
  price: 3.67                  # USD per hour of the whole host; not known
  log: {level: info}           # debug, info, warn, error
  metrics: {port: 9464}        # the agent's own, on loopback; off when absent
  dcgm: {url: http://127.0.0.1:9400/metrics}   # in place of nvidia-smi
  executors:                   # services with an image run only where this says so (docs/executors.md)
    docker: {socket: /var/run/docker.sock, mounts: [/srv/models]}
    limits: {memory: 64GiB}    # what each replica may use at most; no bounds
    disk_free: 256MiB          # with less free, nothing is started

Example:
  fairlead-agent run --config /etc/fairlead/agent.yaml`)
  .action(async ({ config }: { config?: string }) => serve(readConfig(config)));

program
  .command("join")
  .description("make this host a member of a fleet, with a token of `fairlead hosts invite`")
  .requiredOption("--control <url>", "address of the control API")
  .requiredOption("--token-file <file>", "file that holds the join token, or - for standard input")
  .option("--name <name>", "what people call this host (default: its hostname)")
  .option("--state <dir>", "where keys and identity are kept")
  .option("--operator-key <file>", "public key of an operator whose signed services may run here; repeatable", (file: string, before?: string[]) => [...(before ?? []), file])
  .option("--config <file>", "the host's configuration")
  .addHelpText("after", `
Examples:
  fairlead hosts invite | fairlead-agent join --control https://control.example.com --token-file -
  fairlead-agent join --control http://127.0.0.1:8788 --token-file token.txt --name gpu-7 --state ./state`)
  .action(async ({ control, tokenFile, name, state, operatorKey, config }: { control: string; tokenFile: string; name?: string; state?: string; operatorKey?: string[]; config?: string }) => {
    const host = readConfig(config);
    const identity = await join({ control, tokenFile, name: name ?? host.name, state: resolve(state ?? host.state), operatorKeys: operatorKey });
    console.log(`This host is now ${identity.host} ("${identity.name}") in region ${identity.region}.`);
    if (host.trust === "templates" && operatorKey !== undefined) console.log(`It runs nothing yet: write "trust: signed-specs" in ${host.trustPlace} to let it run what the operator signs.`);
    else if (host.trust === "templates" && host.templates === undefined) console.log(`It runs nothing yet: write "trust: unsigned" in ${host.trustPlace} to let it run what services say.`);
    const asBefore = [config === undefined ? "" : ` --config ${config}`, state === undefined || resolve(state) === resolve(host.state) ? "" : `, with "state: ${resolve(state)}" in its configuration`].join("");
    console.log(`Next: fairlead-agent run${asBefore}`);
  });

program
  .command("rotate")
  .description("give this host new keys now; an agent does so by itself every 45 days, and need not be stopped")
  .option("--control <url>", "address of the control API (default: the one it joined)")
  .option("--state <dir>", "where keys and identity are kept")
  .option("--config <file>", "the host's configuration")
  .addHelpText("after", "\nExample:\n  fairlead-agent rotate --config /etc/fairlead/agent.yaml")
  .action(async ({ control, state, config }: { control?: string; state?: string; config?: string }) => {
    const until = await rotate(resolve(state ?? readConfig(config).state), control, systemClock);
    console.log(`This host has new keys. The old one counts beside them until ${new Date(until).toISOString()}.`);
  });

/** @throws ConfigError when a named file is missing, or any cannot be used */
function readConfig(named: string | undefined): Config {
  const root = process.getuid?.() === 0;
  const stateDefault = root ? "/var/lib/fairlead" : joinPath(process.env["XDG_STATE_HOME"] ?? joinPath(homedir(), ".local/state"), "fairlead");
  const usual = ["/etc/fairlead/agent.yaml", joinPath(process.env["XDG_CONFIG_HOME"] ?? joinPath(homedir(), ".config"), "fairlead/agent.yaml")];
  const file = named ?? usual.find((one) => existsSync(one));
  if (file === undefined) return parseConfig("", usual[root ? 0 : 1] ?? "", stateDefault);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`Cannot read the configuration: ${error instanceof Error ? error.message : String(error)}`);
  }
  return parseConfig(text, file, stateDefault);
}

async function serve(config: Config): Promise<void> {
  const [recent, scrubber] = [keepRecent(), createScrubber()];
  const write = (line: string, fields: Fields): void => {
    process.stderr.write(`${line}\n`);
    recent.add(line, fields);
  };
  const log = createLog({ level: config.logLevel, clock: systemClock, scrub: (line) => scrubber.scrub(line), write });
  let agent: Agent | undefined;
  let stopping = false;

  const stopNow = (): void => {
    // whatever this does not end, the replicas' keepers do
    setTimeout(() => process.exit(1), 1_000);
    void (agent?.kill() ?? Promise.resolve()).finally(() => process.exit(1));
  };
  const onSignal = (name: NodeJS.Signals): void => {
    if (stopping || !agent) {
      log.warn("agent ends at once", { signal: name });
      return stopNow();
    }
    stopping = true;
    agent.stop().then(
      () => process.exit(0),
      (error: unknown) => die(log, error),
    );
  };
  // what it says may go to a full disk, or to nobody
  process.stderr.on("error", () => {});
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  process.on("uncaughtException", (error) => die(log, error));
  process.on("unhandledRejection", (error) => die(log, error));
  // started by `fairlead-agent.mjs` in an older Node, whose end closes the channel
  process.once("disconnect", stopNow);
  agent = await runAgent({ ...config, state: resolve(config.state) }, log, process.env, { recent, scrubber });
}

/** The replicas' keepers end them when this process is gone. */
function die(log: Log, error: unknown): never {
  log.error("agent failed", { problem: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  return process.exit(70);
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode;
  else if (error instanceof ConfigError || error instanceof IdentityError) {
    console.error(error.message);
    // what was opened before it went wrong would keep the process
    process.exit(1);
  } else throw error;
}
