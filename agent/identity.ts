import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { enrolledSchema, type Enrolled } from "../schema/api.ts";
import type { Now } from "../schema/clock.ts";
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
  /** The same, and by the key before a rotation, if there was one: whether that one still counts is for others to say. */
  prove: (text: string) => Promise<{ signature: string; previousSignature?: string }>;
  /** The secrets of a task, sealed to this host. @throws when they are sealed to another key or are no object of texts */
  openSecrets: (task: Task) => Promise<Record<string, string>>;
}

export type Identity = Enrolled & { name: string };

/** This host has not joined, or what it stored cannot be used. */
export class IdentityError extends Error {
  override name = "IdentityError";
}

const pairsSchema = z.object({
  sign: z.string(), signPublic: z.string(), seal: z.string(), sealPublic: z.string(),
  /** By this host's clock; absent where an earlier version made them. */
  madeAt: z.number().optional(),
});
export type Pairs = z.infer<typeof pairsSchema>;
const keysSchema = pairsSchema.extend({ previous: pairsSchema.optional() });
const identitySchema = enrolledSchema.extend({ name: z.string() });
type KeyPair = Extract<Awaited<ReturnType<typeof crypto.subtle.generateKey>>, { privateKey: unknown }>;
const encoder = new TextEncoder();

/** The keys in a state folder; made at the first call. They are read anew for each use: a rotation takes effect at once. */
export async function loadKeys(state: string): Promise<Keys> {
  const file = join(state, "keys.json");
  const read = async (): Promise<z.infer<typeof keysSchema>> => {
    const stored = await readJson(file, keysSchema);
    if (stored !== undefined) return stored;
    const made = await makePairs(Date.now());
    await writePrivate(file, made);
    return made;
  };
  const first = await read();
  return {
    publicKey: first.signPublic,
    sealKey: first.sealPublic,
    sign: async (text) => signWith(await read(), text),
    async prove(text) {
      const { previous, ...current } = await read();
      return { signature: await signWith(current, text), ...(previous === undefined ? {} : { previousSignature: await signWith(previous, text) }) };
    },
    async openSecrets({ service, sealedSecrets }) {
      if (sealedSecrets === undefined) return {};
      const { previous, ...current } = await read();
      const open = async (pairs: Pairs): Promise<string> => openSealed(await crypto.subtle.importKey("pkcs8", fromBase64(pairs.seal), "X25519", false, ["deriveBits"]), `secrets:${service}`, sealedSecrets);
      // an assignment may have been sealed before a rotation
      const text = await open(current).catch((error: unknown) => {
        if (previous === undefined) throw error;
        return open(previous);
      });
      return z.record(z.string(), z.string()).parse(JSON.parse(text));
    },
  };
}

/** Ed25519 over the text, base64. */
export async function signWith(pairs: Pairs, text: string): Promise<string> {
  const key = await crypto.subtle.importKey("pkcs8", fromBase64(pairs.sign), "Ed25519", false, ["sign"]);
  return toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", key, encoder.encode(text))));
}

async function makePairs(now: Now): Promise<Pairs> {
  const sign = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as KeyPair;
  const seal = (await crypto.subtle.generateKey("X25519", true, ["deriveBits"])) as KeyPair;
  const exported = async (format: "pkcs8" | "raw", key: KeyPair["privateKey"]): Promise<string> => toBase64(new Uint8Array((await crypto.subtle.exportKey(format, key)) as ArrayBuffer));
  return {
    sign: await exported("pkcs8", sign.privateKey), signPublic: await exported("raw", sign.publicKey),
    seal: await exported("pkcs8", seal.privateKey), sealPublic: await exported("raw", seal.publicKey),
    madeAt: now,
  };
}

/** A rotation that has begun: the new keys are on disk before anybody hears of them, so that a crash loses none that control has taken. */
export interface Rotation {
  old: Pairs;
  next: Pairs;
  /** Control has taken the new ones. */
  done: () => Promise<void>;
}

/** How old the keys are, and whether new ones were made that control may have taken already. */
export async function keyAge(state: string, now: Now): Promise<{ ms: number; begun: boolean }> {
  const stored = await readJson(join(state, "keys.json"), keysSchema);
  const begun = (await readJson(join(state, "keys.next.json"), pairsSchema)) !== undefined;
  const madeAt = stored?.madeAt ?? (await stat(join(state, "keys.json"))).mtimeMs;
  return { ms: now - madeAt, begun };
}

/** @throws IdentityError when there are no keys to rotate */
export async function beginRotation(state: string, now: Now): Promise<Rotation> {
  const [file, nextFile] = [join(state, "keys.json"), join(state, "keys.next.json")];
  const stored = await readJson(file, keysSchema);
  if (stored === undefined) throw new IdentityError(`Cannot rotate: this host has no keys in ${state}`);
  const { previous: _older, ...old } = stored;
  let next = await readJson(nextFile, pairsSchema);
  if (next === undefined) {
    next = await makePairs(now);
    await writePrivate(nextFile, next);
  }
  const made = next;
  return {
    old,
    next: made,
    async done() {
      await writePrivate(file, { ...made, previous: old });
      await rm(nextFile, { force: true });
    },
  };
}

/** Where control is, as the host joined it; undefined where an earlier version joined. */
export async function findControl(state: string): Promise<string | undefined> {
  return (await readJson(join(state, "control.json"), controlSchema))?.url;
}

export async function saveControl(state: string, url: string): Promise<void> {
  await writePrivate(join(state, "control.json"), { url });
}

const controlSchema = z.object({ url: z.url() });

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

/** Where keys and identity are kept; made where it is not there. @throws IdentityError when it cannot be had */
export async function makeState(state: string): Promise<void> {
  try {
    await mkdir(state, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new IdentityError(`Cannot use the state folder ${state}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Written beside and renamed: a crash leaves the old file or the new one, never half of one. @throws IdentityError when there is no room, or no right */
async function writePrivate(file: string, value: unknown): Promise<void> {
  await makeState(join(file, ".."));
  try {
    await writeFile(`${file}.new`, `${JSON.stringify(value, undefined, 2)}\n`, { mode: 0o600, flush: true });
    await rename(`${file}.new`, file);
  } catch (error) {
    throw new IdentityError(`Cannot write ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
