import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { enrolledSchema, type Enrolled } from "../schema/api.ts";
import { fromBase64, openSealed, toBase64 } from "../schema/seal.ts";
import type { Task } from "../schema/task.ts";

/** The host's two key pairs. The private halves never leave it. */
export interface Keys {
  /** Ed25519, raw, base64. */
  publicKey: string;
  /** X25519, raw, base64. */
  sealKey: string;
  /** Ed25519 over the text, base64. */
  sign: (text: string) => Promise<string>;
  /** The secrets of a task, sealed to this host. @throws when they are sealed to another key or are no object of texts */
  openSecrets: (task: Task) => Promise<Record<string, string>>;
}

export type Identity = Enrolled & { name: string };

/** This host has not joined, or what it stored cannot be used. */
export class IdentityError extends Error {
  override name = "IdentityError";
}

const keysSchema = z.object({ sign: z.string(), signPublic: z.string(), seal: z.string(), sealPublic: z.string() });
const identitySchema = enrolledSchema.extend({ name: z.string() });
type KeyPair = Extract<Awaited<ReturnType<typeof crypto.subtle.generateKey>>, { privateKey: unknown }>;
const encoder = new TextEncoder();

/** The keys in a state folder; made at the first call. */
export async function loadKeys(state: string): Promise<Keys> {
  const file = join(state, "keys.json");
  const stored = (await readJson(file, keysSchema)) ?? (await makeKeys(file));
  const signing = await crypto.subtle.importKey("pkcs8", fromBase64(stored.sign), "Ed25519", false, ["sign"]);
  const sealing = await crypto.subtle.importKey("pkcs8", fromBase64(stored.seal), "X25519", false, ["deriveBits"]);
  return {
    publicKey: stored.signPublic,
    sealKey: stored.sealPublic,
    sign: async (text) => toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", signing, encoder.encode(text)))),
    async openSecrets({ service, sealedSecrets }) {
      if (sealedSecrets === undefined) return {};
      return z.record(z.string(), z.string()).parse(JSON.parse(await openSealed(sealing, `secrets:${service}`, sealedSecrets)));
    },
  };
}

async function makeKeys(file: string): Promise<z.infer<typeof keysSchema>> {
  const sign = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as KeyPair;
  const seal = (await crypto.subtle.generateKey("X25519", true, ["deriveBits"])) as KeyPair;
  const exported = async (format: "pkcs8" | "raw", key: KeyPair["privateKey"]): Promise<string> => toBase64(new Uint8Array((await crypto.subtle.exportKey(format, key)) as ArrayBuffer));
  const made = {
    sign: await exported("pkcs8", sign.privateKey), signPublic: await exported("raw", sign.publicKey),
    seal: await exported("pkcs8", seal.privateKey), sealPublic: await exported("raw", seal.publicKey),
  };
  await writePrivate(file, made);
  return made;
}

/** Who this host is, or undefined when it has not joined. */
export async function findIdentity(state: string): Promise<Identity | undefined> {
  return readJson(join(state, "identity.json"), identitySchema);
}

/** @throws IdentityError when this host has not joined */
export async function loadIdentity(state: string): Promise<Identity> {
  const identity = await findIdentity(state);
  if (identity) return identity;
  throw new IdentityError(`Cannot start: this host has not joined a fleet (${join(state, "identity.json")} does not exist). Join first: fairlead-agent join --control URL --token-file FILE`);
}

export async function saveIdentity(state: string, identity: Identity): Promise<void> {
  await writePrivate(join(state, "identity.json"), identity);
}

async function readJson<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new IdentityError(`Cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    throw new IdentityError(`Cannot use ${file}: it is damaged. Remove it and join again`);
  }
}

/** Written beside and renamed: a crash leaves the old file or the new one, never half of one. */
async function writePrivate(file: string, value: unknown): Promise<void> {
  await mkdir(join(file, ".."), { recursive: true, mode: 0o700 });
  await writeFile(`${file}.new`, `${JSON.stringify(value, undefined, 2)}\n`, { mode: 0o600, flush: true });
  await rename(`${file}.new`, file);
}
