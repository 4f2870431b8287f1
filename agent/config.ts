import { isNode, LineCounter, parseDocument, type Document } from "yaml";
import { z } from "zod";
import { likeliest } from "../schema/issues.ts";
import { kindNamePattern } from "../schema/protocol.ts";
import { parseDuration } from "../schema/units.ts";
import { executorsSchema, type ExecutorsConfig } from "./executors/config.ts";
import { levels, type Level } from "./log.ts";
import { clouds, type ReclaimOptions } from "./reclaim.ts";

/** What an agent runs: `templates` only what the host's owner wrote down, `signed-specs` only what an operator signed, `unsigned` whatever a service's `run` says. */
export type Trust = "templates" | "signed-specs" | "unsigned";

/** A host's own configuration: nothing that comes over the network can change it. */
export interface Config {
  /** Keys, logs and the replicas' scratch folders. */
  state: string;
  trust: Trust;
  /** Where `trust` is, or would be, written: for the message that says what to change. */
  trustPlace: string;
  /** What a SIGTERM to the agent waits for requests in flight, at most. */
  drainMs: number;
  /** From SIGTERM to SIGKILL when a replica is stopped. */
  killAfterMs: number;
  name: string | undefined;
  /** In place of the address that enrolment gave. */
  fleetUrl: string | undefined;
  /** Data links, at most; the hub may offer fewer. */
  relays: number;
  /** Files of the owner's (docs/trust.md): templates, public keys of operators, and what is taken away again. */
  templates: string | undefined;
  operatorKeys: readonly string[] | undefined;
  override: string | undefined;
  /** What the gate lets through to engines, beside inference. */
  paths: readonly string[] | undefined;
  /** Whose notices of the host's end are watched; `baseUrl` stands in for the cloud's own address. */
  reclaim: Pick<ReclaimOptions, "cloud" | "baseUrl">;
  logLevel: Level;
  /** Where the agent's own metrics are on loopback; nowhere when absent. */
  metricsPort: number | undefined;
  /** A DCGM exporter to be read in place of `nvidia-smi`. */
  dcgmUrl: string | undefined;
  /** What may be run in besides processes, and what each replica may use at most. */
  executors: ExecutorsConfig;
  /** What kind of host this is, where that is not to be found out (agent/kind.ts). */
  zone?: string | undefined;
  spot?: boolean | undefined;
  accelerator?: string | undefined;
  priceMicroUsd?: number | undefined;
  /** The edge may call this host at its gate, beside its data links. */
  direct?: GateConfig | undefined;
}

/** A configuration that cannot be used; the message names file, line and field. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

const duration = z.string('is not a duration: write 250ms, 30s, 2m or 1h').transform((text, context) => {
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  context.addIssue({ code: "custom", message: `"${text}" is not a duration: write 250ms, 30s, 2m or 1h` });
  return z.NEVER;
});

/** Where the gate listens, and where the edge finds it. */
export interface GateConfig {
  host: string;
  port: number;
  /** An origin. */
  url: string;
  /** Files, PEM; absent where something in front of the gate ends TLS. */
  tls?: { cert: string; key: string } | undefined;
}

const listenSchema = z.string().transform((text, context) => {
  const parts = /^(\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5})$/.exec(text);
  const port = Number(parts?.[2]);
  if (parts !== null && port <= 65_535) return { host: (parts[1] ?? "").replace(/^\[|\]$/g, ""), port };
  context.addIssue({ code: "custom", message: `"${text}" is not an address to listen on: write 0.0.0.0:8443` });
  return z.NEVER;
});

const directSchema = z
  .strictObject({
    listen: listenSchema,
    url: z.url({ protocol: /^https?$/, error: "is not an http or https address" }).refine((url) => new URL(url).pathname === "/" && new URL(url).search === "", "names a path: write the origin only, https://gpu7.example.com"),
    tls: z.strictObject({ cert: z.string().min(1), key: z.string().min(1) }).optional(),
  })
  .transform(({ listen, url, tls }): GateConfig => ({ ...listen, url: new URL(url).origin, tls }));

const configSchema = z.strictObject({
  state: z.string().min(1).optional(),
  trust: z.enum(["templates", "signed-specs", "unsigned"]).default("templates"),
  drain: duration.default(30_000),
  kill_after: duration.default(5_000),
  name: z.string().min(1).max(64).optional(),
  fleet_url: z.url({ protocol: /^(https?|wss?)$/, error: "is not an http, https, ws or wss address" }).optional(),
  relays: z.number().int().min(1).max(16).default(2),
  executors: executorsSchema,
  templates: z.string().min(1).optional(),
  operator_keys: z.array(z.string().min(1)).min(1).optional(),
  override: z.string().min(1).optional(),
  paths: z.array(z.string().startsWith("/", "must be a path that starts with /")).optional(),
  reclaim: z.strictObject({ cloud: z.enum(["auto", "none", ...clouds]).default("auto"), base_url: z.url({ protocol: /^http$/, error: "is not an http address" }).optional() }).default({ cloud: "auto" }),
  transport: z.union([z.literal("relay"), z.strictObject({ direct: directSchema })], { error: (issue) => (issue.input === undefined ? undefined : 'is neither "relay" nor {direct: {listen, url, tls}}') }).default("relay"),
  log: z.strictObject({ level: z.enum(levels).default("info") }).default({ level: "info" }),
  metrics: z.strictObject({ port: z.number().int().min(1).max(65_535) }).optional(),
  dcgm: z.strictObject({ url: z.url({ protocol: /^https?$/, error: "is not an http or https address" }) }).optional(),
  zone: z.string().regex(kindNamePattern, "is not a zone's name: write it as the cloud does, us-east-1a").optional(),
  spot: z.boolean("is neither true nor false").optional(),
  accelerator: z.string().regex(kindNamePattern, "is not a GPU's name: write it as SkyPilot does, A100-80GB").optional(),
  price: z.number("is not a number of USD per hour").nonnegative("is less than nothing").max(1_000_000, "is more than a host costs in an hour, in USD").optional(),
});

/**
 * Reads a configuration, YAML or JSON (which is YAML too).
 *
 * @param file its name, for messages
 * @param stateDefault used when the text names no state folder
 * @throws ConfigError on a syntax error, an unknown field or a value that cannot be used
 */
export function parseConfig(text: string, file: string, stateDefault: string): Config {
  const { value, lineOf: line } = parseYaml(text, file, configSchema, "the agent's configuration");
  const { state, trust, drain, kill_after, name, fleet_url, relays, templates, operator_keys, override, paths, reclaim, transport, log, metrics, dcgm, executors, zone, spot, accelerator, price } = value;
  const trustLine = line(["trust"]);
  return {
    state: state ?? stateDefault,
    trust,
    trustPlace: trustLine === undefined ? file : `${file} line ${trustLine}`,
    drainMs: drain,
    killAfterMs: kill_after,
    name,
    fleetUrl: fleet_url,
    relays,
    templates,
    operatorKeys: operator_keys,
    override,
    paths,
    reclaim: { cloud: reclaim.cloud, baseUrl: reclaim.base_url?.replace(/\/+$/, "") },
    logLevel: log.level,
    metricsPort: metrics?.port,
    dcgmUrl: dcgm?.url,
    executors,
    zone, spot, accelerator,
    priceMicroUsd: price === undefined ? undefined : Math.round(price * 1_000_000),
    direct: transport === "relay" ? undefined : transport.direct,
  };
}

/**
 * Reads a file of the host's owner.
 *
 * @param what it is, for messages
 * @throws ConfigError that names file, line and field
 */
export function parseYaml<T>(text: string, file: string, schema: z.ZodType<T>, what: string): { value: T; lineOf: (path: PropertyKey[]) => number | undefined } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const broken = document.errors[0];
  if (broken) throw new ConfigError(`${file}:${lines.linePos(broken.pos[0]).line}: ${broken.message}`);
  const parsed = schema.safeParse(document.toJS() ?? {});
  if (!parsed.success) throw new ConfigError(parsed.error.issues.map((issue) => describe(issue, document, lines, file, what)).join("\n"));
  return { value: parsed.data, lineOf: (path) => lineOf(path, document, lines) };
}

function describe(issue: z.core.$ZodIssue, document: Document, lines: LineCounter, file: string, what: string): string {
  const at = (path: PropertyKey[], message: string) => `${file}:${nearestLine(path, document, lines)}: ${path.length > 0 ? `${path.join(".")}: ` : ""}${message}`;
  const branch = issue.code === "invalid_union" ? likeliest(issue.errors) : undefined;
  if (branch !== undefined) return branch.map((one) => describe({ ...one, path: [...issue.path, ...one.path] }, document, lines, file, what)).join("\n");
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => at([...issue.path, key], `is not a field of ${what}`)).join("\n");
  return at(issue.path, issue.message);
}

/** Of a field, or where it is missing of the group that lacks it. */
function nearestLine(path: PropertyKey[], document: Document, lines: LineCounter): number {
  for (let length = path.length; length > 0; length--) {
    const line = lineOf(path.slice(0, length), document, lines);
    if (line !== undefined) return line;
  }
  return 1;
}

function lineOf(path: PropertyKey[], document: Document, lines: LineCounter): number | undefined {
  const found: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
  return isNode(found) && found.range ? lines.linePos(found.range[0]).line : undefined;
}
