import { readDeclared } from "./declared.ts";
import { mapTexts, namePattern, own, resolveEnvironment, substitute } from "./environment.ts";
import { serviceNamePattern } from "./ids.ts";
import { reportIssues } from "./issues.ts";
import { warnNotYet } from "./notYet.ts";
import { fieldName, type Problem, type Report } from "./problem.ts";
import { checkRules } from "./serviceRules.ts";
import { buildPool, buildSpec, type PoolSpec, type ServiceSpec } from "./serviceSpec.ts";
import { isExternal } from "./serviceYaml.ts";
import { substituteService } from "./substitution.ts";
import { taskYamlSchema, type TaskYaml } from "./taskYaml.ts";
import { splitHeaders } from "./vendorHeaders.ts";
import { readYaml } from "./yamlTree.ts";

/** The secrets of a service, kept apart from its spec. */
export interface ServiceSecrets {
  /** Given to its replicas, and to nobody else. */
  replica: Record<string, string>;
  /** By provider name. */
  apiKeys: Record<string, string>;
  /** Headers that hold a credential, by provider name; absent where an earlier version stored them. */
  headers?: Record<string, Record<string, string>>;
  /** Of the commitment to `replica` that the service's operator signed (`schema/signedSpec.ts`). */
  salt?: string;
}

export interface ParseOptions {
  /** The service's name: overrides the file's, as in SkyServe. */
  name?: string | undefined;
  /** The file's name: the service is called by it when nothing else names it. */
  file?: string | undefined;
  /** Values supplied beside the file: they override and add. */
  envs?: Readonly<Record<string, string>>;
  secrets?: Readonly<Record<string, string>>;
  /** For names that nothing else gives. */
  environment?: Readonly<Record<string, string | undefined>>;
  /** `up` refuses what `validate` only warns of: values that nobody supplied, and what this version cannot run at all. */
  purpose?: "validate" | "up";
  /** Answer as SkyServe does. */
  strict?: boolean;
}

export interface ParsedService {
  /** Absent when a problem is an error, and for a pool. */
  service?: ServiceSpec;
  secrets?: ServiceSecrets;
  /** In place of both for a pool, which is checked and not run. */
  pool?: PoolSpec;
  /** By line. */
  problems: Problem[];
}

/**
 * Read a service file.
 *
 * @example parseService("service: {model: hello}\nrun: serve --port $PORT", { name: "hello" }).service?.models // ["hello"]
 */
export function parseService(text: string, options: ParseOptions = {}): ParsedService {
  const { envs = {}, secrets = {}, environment = {}, purpose = "validate", strict = false } = options;
  const { tree, problems } = readYaml(text);
  if (tree === undefined) return { problems };
  const report: Report = (level, path, message) => {
    problems.push({ ...tree.position(path), field: fieldName(path), message, level });
  };
  const parsed = read();
  problems.sort((a, b) => a.line - b.line || a.column - b.column);
  const failed = problems.some(({ level }) => level === "error");
  return failed || parsed === undefined ? { problems } : { ...parsed, problems };

  function read(): Omit<ParsedService, "problems"> | undefined {
    const root = tree?.value;
    if (tree === undefined || typeof root !== "object" || root === null || Array.isArray(root)) {
      report("error", [], "must be a group of fields with service: and run:");
      return undefined;
    }
    for (const [kind, given] of Object.entries({ envs, secrets })) {
      for (const name of Object.keys(given)) if (!namePattern.test(name)) report("error", [kind, name], "is not a name of an environment variable");
    }
    const resolved = resolveEnvironment({ declared: readDeclared(tree, report), envs, secrets, environment });
    for (const { kind, name } of resolved.missing) {
      const flag = kind === "envs" ? "--env" : "--secret";
      report(purpose === "up" ? "error" : "warning", [kind, name], `has no value: give it by ${flag} ${name}=… or in the environment of fairlead up`);
    }
    const fields: Record<string, unknown> = { ...root };
    const { service, probeSecrets, filledHeaders } = substituteService(fields["service"], { resolved, environment, purpose, report });
    if (service !== undefined) fields["service"] = service;
    // as SkyServe; secrets stay out of what is published
    for (const field of ["workdir", "volumes"] as const) fields[field] = mapTexts(fields[field], (written) => substitute(written, (name) => own(resolved.envs, name)));
    const shape = taskYamlSchema.safeParse(fields, { reportInput: true });
    if (!shape.success) {
      reportIssues(shape.error.issues, taskYamlSchema, report);
      return undefined;
    }
    checkRules(shape.data, strict, report);
    warnNotYet(shape.data, report);
    const name = chooseName(shape.data, options, report);
    const pool = name === undefined ? undefined : buildPool(name, shape.data, { purpose, report });
    if (pool !== undefined) return { pool };
    const headers = splitHeaders(shape.data.service?.providers ?? [], filledHeaders);
    const spec = name === undefined ? undefined : buildSpec(shape.data, { name, resolved, headers: headers.open, purpose, report });
    if (spec === undefined) return undefined;
    const replica = spec.task === undefined ? {} : { ...resolved.secrets, ...probeSecrets };
    const secret = Object.keys(headers.secret).length > 0 ? { headers: headers.secret } : {};
    return { service: spec, secrets: { replica, apiKeys: apiKeysOf(shape.data), ...secret } };
  }
}

/** `-n`, then the file's `name:`, then what the file is called. SkyPilot's names may have capitals, ours are part of host names and have none. */
function chooseName(task: TaskYaml, { name, file, purpose }: ParseOptions, report: Report): string | undefined {
  const given = name ?? (task.name == null ? undefined : String(task.name));
  if (given === undefined) {
    const base = (file ?? "").split(/[\\/]/).at(-1)?.replace(/\.[^.]*$/, "") ?? "";
    const fromFile = base.toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "").slice(0, 63);
    if (serviceNamePattern.test(fromFile)) return fromFile;
    if (purpose !== "up") return "service";
    report("error", [], "has no name: give it by name: or with -n");
    return undefined;
  }
  const lower = name === undefined ? given.toLowerCase() : given;
  if (!serviceNamePattern.test(lower)) {
    report("error", name === undefined ? ["name"] : [], `"${given}" is not a service name: use lower-case letters, digits, ".", "_" and "-", at most 63`);
    return undefined;
  }
  if (lower !== given) report("warning", ["name"], `"${given}" becomes "${lower}": names of services are lower case`);
  return lower;
}

function apiKeysOf(task: TaskYaml): Record<string, string> {
  const entries = (task.service?.providers ?? []).filter(isExternal).flatMap(({ name, api_key: key }) => (key == null || key === "" ? [] : [[name, key]]));
  return Object.fromEntries(entries) as Record<string, string>;
}
