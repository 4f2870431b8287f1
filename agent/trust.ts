import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { RequestHead } from "../schema/frames.ts";
import type { Assign } from "../schema/protocol.ts";
import { saltName, secretsCommitment } from "../schema/signedSpec.ts";
import type { Task } from "../schema/task.ts";
import { ConfigError, parseYaml, type Config } from "./config.ts";
import { StartError } from "./executor.ts";
import { mayPass, refusal } from "./gatePaths.ts";
import type { Log } from "./log.ts";
import { overrideSchema, overruled, type Override } from "./override.ts";
import { readOwned } from "./ownedFile.ts";
import type { Refuses } from "./reconcile.ts";
import { keepSignedSpecs, readOperatorKeys, type OperatorKeys } from "./signedSpecs.ts";
import { expand, templatesSchema, type Templates } from "./templates.ts";
import type { Cancel, Timers } from "./timers.ts";

/** A task that this host has judged: what of it runs is the host's own or the operator's word, not its hub's. */
export interface JudgedTask extends Task {
  /** Names of secrets that it may be given; absent: any. */
  secretNames?: readonly string[];
  /** What its operator signed of its secrets; `none`: that it has none. Absent: nothing was signed. */
  secretsSigned?: string;
}

/** An assignment as this host takes it. */
export interface Judged {
  assign: Assign & { tasks: JudgedTask[] };
  refuses: Refuses;
  /** Why all is to go, when it is. */
  unwanted?: string;
}

export interface Trusted {
  judge(assign: Assign): Promise<Judged>;
  /** The secrets of a task, checked against what the host or its operator says of them. @throws StartError when they do not fit */
  openSecrets: (task: JudgedTask) => Promise<Record<string, string>>;
  /** The answer to a request that the gate does not let through to a replica of this task; undefined when it does. */
  gate: (task: Task, head: RequestHead) => ReturnType<typeof refusal> | undefined;
  /** The owner has stopped this host. */
  readonly stopped: boolean;
  /** What this host runs, in one line for its log. */
  readonly says: string;
  close(): void;
}

export interface TrustOptions {
  config: Pick<Config, "trust" | "trustPlace" | "templates" | "operatorKeys" | "override" | "paths">;
  /** The agent's folder. */
  state: string;
  openSecrets: (task: Task) => Promise<Record<string, string>>;
  /** The owner has changed what is allowed: judge again. */
  onChange: () => void;
  timers: Timers;
  log: Log;
}

/** The public keys that `fairlead-agent join --operator-key` pinned. */
export const pinnedKeys = "operators.pem";

/** The kill switch acts within so long: the override file is looked at this often. */
const lookMs = 2_000;

const digestOf = (one: { service: string; digest: string }): string => `${one.service}\n${one.digest}`;

/**
 * What may run on this host, by the owner's own files and nothing that comes over the network.
 *
 * @throws ConfigError when one of them cannot be used
 */
export async function openTrust({ config, state, openSecrets, onChange, timers, log }: TrustOptions): Promise<Trusted> {
  const { trust, trustPlace } = config;
  const templates = config.templates === undefined ? undefined : await readTemplates(config.templates);
  const specs = trust === "signed-specs" ? await keepSignedSpecs(state) : undefined;
  if (specs !== undefined) await readKeys();
  let override: Override = await readOverride();
  let overrideStamp = await stampOf(config.override);
  const sayAbsent = (): void => log.info("the owner's override is not there: nothing is restricted until it is", { file: config.override });
  if (config.override !== undefined && overrideStamp === undefined) sayAbsent();
  let closed = false;

  /** Read anew each time: a key that the owner removes counts no more. */
  async function readKeys(): Promise<OperatorKeys> {
    const files = [...(config.operatorKeys ?? [])];
    const pinned = join(state, pinnedKeys);
    if (await stat(pinned).catch(() => undefined)) files.push(pinned);
    const keys = new Map<string, CryptoKey>();
    for (const file of files) for (const [id, key] of await readOperatorKeys(await readOwned(file), file)) keys.set(id, key);
    if (keys.size === 0) throw new ConfigError(`Cannot run what is signed (${trustPlace}): this host has no operator's key; join with --operator-key FILE, or name files by operator_keys`);
    return keys;
  }

  async function readOverride(): Promise<Override> {
    if (config.override === undefined || (await stampOf(config.override)) === undefined) return overrideSchema.parse({});
    return parseYaml(await readOwned(config.override), config.override, overrideSchema, "an override").value;
  }

  async function lookAgain(): Promise<void> {
    const stamp = await stampOf(config.override);
    if (stamp === overrideStamp) return;
    overrideStamp = stamp;
    try {
      override = await readOverride();
      if (stamp === undefined) sayAbsent();
      else log.info("the owner's override has changed", { file: config.override, stop: override.stop, max: override.max_replicas, services: override.allowed_services?.join(" ") });
    } catch (error) {
      // what was allowed before and no more: half a file must not open the host
      override = { ...override, max_replicas: 0 };
      log.error("the owner's override cannot be used: nothing more is started", { problem: describe(error) });
    }
    if (!closed) onChange();
  }
  const look = (): void => {
    void lookAgain().finally(() => {
      if (!closed) cancelLook = timers.after(lookMs, look);
    });
  };
  let cancelLook: Cancel | undefined = config.override === undefined ? undefined : timers.after(lookMs, look);

  async function judgeTask(task: Task, keys: OperatorKeys | ConfigError | undefined): Promise<{ task: JudgedTask; replicasMax?: number } | { reason: string }> {
    if (keys instanceof ConfigError) return { reason: keys.message };
    let taken: JudgedTask = task;
    let replicasMax: number | undefined;
    if (specs !== undefined && keys !== undefined) {
      const verified = await specs.verify(task, keys);
      if ("reason" in verified) return verified;
      const { spec } = verified;
      const { service, version, digest, sealedSecrets } = task;
      taken = { ...spec.task, service, version, digest, ...(sealedSecrets === undefined ? {} : { sealedSecrets }), secretsSigned: spec.secrets ?? "none" };
      replicasMax = spec.replicasMax;
    }
    if (taken.template !== undefined) {
      if (templates === undefined) return { reason: `this host has no templates: write templates: FILE in ${trustPlace.replace(/ line \d+$/, "")}` };
      const expanded = expand(templates, taken);
      if ("reason" in expanded) return expanded;
      const { secretsSigned } = taken;
      taken = { ...expanded.task, secretNames: expanded.secretNames, ...(secretsSigned === undefined ? {} : { secretsSigned }) };
    } else if (trust === "templates") {
      if (templates === undefined) return { reason: unsignedRefused(trustPlace) };
      return { reason: `this host runs templates only (${trustPlace}), and ${task.service} names none: give it service.template; there is ${Object.keys(templates).join(", ") || "none"}` };
    }
    const { path, postBody } = taken.probe;
    // a probe is a request as well, and one that the hub words
    if (trust === "templates" && !mayPass(taken, { method: postBody === undefined ? "GET" : "POST", path }, config.paths ?? [])) return { reason: `its readiness probe asks for ${path.slice(0, 100)}, which the gate lets nobody reach` };
    return { task: taken, ...(replicasMax === undefined ? {} : { replicasMax }) };
  }

  return {
    async judge(assign) {
      const keys = specs === undefined ? undefined : await readKeys().catch((error: unknown) => (error instanceof ConfigError ? error : new ConfigError(describe(error))));
      const tasks: JudgedTask[] = [];
      const reasons = new Map<string, string>();
      const most = new Map<string, number>();
      for (const task of assign.tasks) {
        const judged = await judgeTask(task, keys);
        const at = digestOf(task);
        if ("reason" in judged) reasons.set(at, judged.reason);
        else if (!tasks.some((one) => digestOf(one) === at)) tasks.push(judged.task);
        if ("replicasMax" in judged && judged.replicasMax !== undefined) most.set(at, judged.replicasMax);
      }
      const now = override;
      return {
        assign: { ...assign, tasks, ...(now.stop ? { replicas: [] } : {}) },
        ...(now.stop ? { unwanted: "this host's owner has stopped it" } : {}),
        refuses(replica, alive) {
          const at = digestOf(replica);
          const limit = most.get(at);
          const same = alive.filter((one) => one.service === replica.service && one.digest === replica.digest).length;
          if (limit !== undefined && same >= limit) return `its operator signed ${limit} replica${limit === 1 ? "" : "s"} of it, and ${same} run on this host`;
          return overruled(now, replica.service, alive.length) ?? reasons.get(at) ?? (trust === "templates" && templates === undefined ? unsignedRefused(trustPlace) : undefined);
        },
      };
    },
    async openSecrets(task) {
      const { [saltName]: salt, ...secrets } = await openSecrets(task);
      const { secretNames, secretsSigned } = task;
      const strange = secretNames === undefined ? undefined : Object.keys(secrets).find((name) => !secretNames.includes(name));
      if (strange !== undefined) throw new StartError(`its template does not let it be given the secret ${strange.slice(0, 64)}`);
      if (secretsSigned !== undefined) {
        const commitment = Object.keys(secrets).length === 0 ? "none" : await secretsCommitment(salt ?? "", secrets);
        if (commitment !== secretsSigned) throw new StartError("its secrets are not those that its operator signed");
      }
      return secrets;
    },
    gate: (task, head) => (mayPass(task, head, config.paths ?? []) ? undefined : refusal(head)),
    get stopped() {
      return override.stop;
    },
    says: sayTrust(trust, templates),
    close() {
      closed = true;
      cancelLook?.();
      cancelLook = undefined;
    },
  };
}

async function readTemplates(file: string): Promise<Templates> {
  return parseYaml(await readOwned(file), file, templatesSchema, "templates").value.templates;
}

/** What changes when a file does; undefined where there is none. One that cannot be looked at is not one that is not there. */
async function stampOf(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    const found = await stat(file);
    return `${found.mtimeMs} ${found.size} ${found.ino} ${found.mode} ${found.uid}`;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    return code === "ENOENT" ? undefined : code;
  }
}

function unsignedRefused(place: string): string {
  return `this host runs no unsigned service: write "trust: unsigned" in ${place} to allow it`;
}

function sayTrust(trust: Config["trust"], templates: Templates | undefined): string {
  if (trust === "unsigned") return "trust is unsigned";
  if (trust === "signed-specs") return "trust is signed-specs: this host runs only what its operators signed";
  const names = Object.keys(templates ?? {});
  return names.length === 0 ? "trust is templates: this host runs only what its owner allows; it has no templates, so it runs nothing" : `trust is templates: this host runs only its owner's ${names.join(", ")}`;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
