import { keyDigest, pepperKey } from "../schema/key.ts";
import { decrypt, encrypt, sealTo, sharedKey } from "../schema/seal.ts";
import type { ServiceSecrets } from "../schema/service.ts";
import type { ServiceSpec } from "../schema/serviceSpec.ts";
import { saltName } from "../schema/signedSpec.ts";
import type { HostRow, ServiceRow } from "../schema/tables.ts";

/** Control's keys, each derived from FAIRLEAD_SHARED_KEY for one use. */
export interface Vault {
  /** Shared with the edge: providers' keys in the bundle. */
  edge: CryptoKey;
  /** Control's own: secrets in the database. */
  stored: CryptoKey;
  /** For digests that must not tell what they are of. */
  digest: CryptoKey;
}

export async function openVault(secret: string): Promise<Vault> {
  return { edge: await sharedKey(secret), stored: await sharedKey(`fairlead-database\n${secret}`), digest: await pepperKey(`fairlead-digest\n${secret}`) };
}

/** A service's secrets as the database keeps them. */
export function lockSecrets(vault: Vault, service: string, secrets: ServiceSecrets): Promise<string> {
  return encrypt(vault.stored, `service:${service}`, JSON.stringify(secrets));
}

/** @throws Error that names the service when FAIRLEAD_SHARED_KEY is not the one they were locked with */
export async function unlockSecrets(vault: Vault, service: string, locked: string): Promise<ServiceSecrets> {
  try {
    return JSON.parse(await decrypt(vault.stored, `service:${service}`, locked)) as ServiceSecrets;
  } catch (error) {
    throw new Error(`Cannot open the secrets of service "${service}": FAIRLEAD_SHARED_KEY is not the one they were stored with; run fairlead up again for it`, { cause: error });
  }
}

/** The secret side of a service in the bundle. */
export interface SealedService {
  /** Of what a replica runs; absent for a service without replicas. */
  digest?: string;
  /** Sealed secrets by host id. */
  hosts: Record<string, string>;
  /** Of the version that may be gone back to. */
  previous?: Pick<SealedService, "hosts"> & { digest: string };
  /** Encrypted API keys by provider name. */
  apiKeys: Record<string, string>;
  /** Encrypted headers by provider name, a JSON object each. */
  headers: Record<string, string>;
}

/**
 * The digest of what a replica runs: a change of anything else (probe, routing, models) restarts nothing, a change of a secret
 * restarts. Keyed, so that nobody can try out secrets on it.
 */
export function taskDigest(vault: Vault, task: NonNullable<ServiceSpec["task"]>, secrets: Readonly<Record<string, string>>): Promise<string> {
  const sorted = (record: Readonly<Record<string, unknown>>) => Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
  const what: unknown[] = [task.setup ?? null, task.run, task.workdir ?? null, sorted(task.envs), sorted(secrets), task.fixedPort ?? null, task.gpus];
  // only where they are given: services of before go on under their digests
  const { template, image, mounts, limits, accelerators } = task;
  if (template !== undefined) what.push(template.name, sorted(template.parameters));
  if (image !== undefined || limits !== undefined) what.push([image ?? null, sorted(mounts ?? {}), limits ?? null]);
  // where it may be (`places`) is its hubs' matter: a replica need not start anew where it is
  if (accelerators !== undefined) what.push(["accelerators", ...accelerators.map(({ name, count }) => `${name}:${count}`)]);
  return keyDigest(JSON.stringify(what), vault.digest);
}

/** Seal one service for the hosts that may run it, and its API keys and secret headers for the edge. */
export async function sealService(vault: Vault, row: ServiceRow, hosts: readonly HostRow[]): Promise<SealedService> {
  const secrets = await unlockSecrets(vault, row.name, row.secrets);
  const { task } = row.spec;
  const { previous } = row;
  const sealed: SealedService = { hosts: {}, apiKeys: {}, headers: {} };
  for (const [provider, key] of Object.entries(secrets.apiKeys)) sealed.apiKeys[provider] = await encrypt(vault.edge, `provider:${row.name}:${provider}`, key);
  for (const [provider, headers] of Object.entries(secrets.headers ?? {})) sealed.headers[provider] = await encrypt(vault.edge, `provider-headers:${row.name}:${provider}`, JSON.stringify(headers));
  if (task === undefined) return sealed;
  Object.assign(sealed, await sealTask(vault, row.name, task, secrets, hosts));
  if (previous !== null) sealed.previous = await sealTask(vault, row.name, previous.task, await unlockSecrets(vault, row.name, previous.secrets), hosts);
  return sealed;
}

async function sealTask(vault: Vault, service: string, task: NonNullable<ServiceSpec["task"]>, secrets: ServiceSecrets, hosts: readonly HostRow[]): Promise<NonNullable<SealedService["previous"]>> {
  const sealed: NonNullable<SealedService["previous"]> = { digest: await taskDigest(vault, task, secrets.replica), hosts: {} };
  if (Object.keys(secrets.replica).length === 0) return sealed;
  // what was signed binds the secrets by a salt, which only the hosts may know
  const text = JSON.stringify(secrets.salt === undefined ? secrets.replica : { ...secrets.replica, [saltName]: secrets.salt });
  for (const host of hosts) if (host.revokedAt === null) sealed.hosts[host.id] = await sealTo(host.sealKey, `secrets:${service}`, text);
  return sealed;
}
