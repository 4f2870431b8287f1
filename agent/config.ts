import { isNode, LineCounter, parseDocument, type Document } from "yaml";
import { z } from "zod";
import { parseDuration } from "../schema/units.ts";
import { levels, type Level } from "./log.ts";

/** What an agent runs: `templates` only what the host's owner wrote down, `unsigned` whatever a service's `run` says. */
export type Trust = "templates" | "unsigned";

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
  logLevel: Level;
  /** The edge may call this host at its gate, beside its data links. */
  direct?: GateConfig | undefined;
}

/** A configuration that cannot be used; the message names file, line and field. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

const duration = z.string().transform((text, context) => {
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
  trust: z.enum(["templates", "unsigned"]).default("templates"),
  drain: duration.default(30_000),
  kill_after: duration.default(5_000),
  name: z.string().min(1).max(64).optional(),
  fleet_url: z.url({ protocol: /^(https?|wss?)$/, error: "is not an http, https, ws or wss address" }).optional(),
  relays: z.number().int().min(1).max(16).default(2),
  transport: z.union([z.literal("relay"), z.strictObject({ direct: directSchema })], { error: (issue) => (issue.input === undefined ? undefined : 'is neither "relay" nor {direct: {listen, url, tls}}') }).default("relay"),
  log: z.strictObject({ level: z.enum(levels).default("info") }).default({ level: "info" }),
});

/**
 * Reads a configuration, YAML or JSON (which is YAML too).
 *
 * @param file its name, for messages
 * @param stateDefault used when the text names no state folder
 * @throws ConfigError on a syntax error, an unknown field or a value that cannot be used
 */
export function parseConfig(text: string, file: string, stateDefault: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const broken = document.errors[0];
  if (broken) throw new ConfigError(`${file}:${lines.linePos(broken.pos[0]).line}: ${broken.message}`);
  const parsed = configSchema.safeParse(document.toJS() ?? {});
  if (!parsed.success) throw new ConfigError(parsed.error.issues.map((issue) => describe(issue, document, lines, file)).join("\n"));
  const { state, trust, drain, kill_after, name, fleet_url, relays, transport, log } = parsed.data;
  const trustLine = lineOf(["trust"], document, lines);
  return {
    state: state ?? stateDefault,
    trust,
    trustPlace: trustLine === undefined ? file : `${file} line ${trustLine}`,
    drainMs: drain,
    killAfterMs: kill_after,
    name,
    fleetUrl: fleet_url,
    relays,
    logLevel: log.level,
    direct: transport === "relay" ? undefined : transport.direct,
  };
}

function describe(issue: z.core.$ZodIssue, document: Document, lines: LineCounter, file: string): string {
  const at = (path: PropertyKey[], message: string) => `${file}:${lineOf(path, document, lines) ?? 1}: ${path.length > 0 ? `${path.join(".")}: ` : ""}${message}`;
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => at([...issue.path, key], "is not a field of the agent's configuration")).join("\n");
  return at(issue.path, issue.message);
}

function lineOf(path: PropertyKey[], document: Document, lines: LineCounter): number | undefined {
  const found: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
  return isNode(found) && found.range ? lines.linePos(found.range[0]).line : undefined;
}
