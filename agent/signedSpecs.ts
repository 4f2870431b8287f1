import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { calculateJwkThumbprint, compactVerify, decodeProtectedHeader, exportJWK, importSPKI } from "jose";
import { z } from "zod";
import { signedAlgorithm, signedSpecSchema, signedType, type SignedSpec } from "../schema/signedSpec.ts";
import type { Task } from "../schema/task.ts";
import { ConfigError } from "./config.ts";

/** Operators' public keys by thumbprint (RFC 7638). */
export type OperatorKeys = ReadonlyMap<string, CryptoKey>;

/** @param text one or more public keys in PEM. @throws ConfigError when there is none, or one cannot be used */
export async function readOperatorKeys(text: string, file: string): Promise<OperatorKeys> {
  const keys = new Map<string, CryptoKey>();
  if (text.includes("PRIVATE KEY")) throw new ConfigError(`Cannot use ${file}: it holds a private key, which belongs nowhere near a host; give the file that ends in .pub`);
  for (const pem of text.match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g) ?? []) {
    try {
      const key = await importSPKI(pem, signedAlgorithm, { extractable: true });
      keys.set(await calculateJwkThumbprint(await exportJWK(key)), key);
    } catch {
      throw new ConfigError(`Cannot use ${file}: it holds a key that is no Ed25519 public key`);
    }
  }
  if (keys.size === 0) throw new ConfigError(`Cannot use ${file}: it holds no public key in PEM; fairlead operator keygen makes one`);
  return keys;
}

/** What was signed, as this host may run it; or why not. */
export type Verified = { spec: SignedSpec } | { reason: string };

export interface SignedSpecs {
  /** Judges what came with a task. A version that is good is remembered before it is handed back: from then on no lower one is. */
  verify(task: Pick<Task, "service" | "signed">, keys: OperatorKeys): Promise<Verified>;
}

const seenSchema = z.record(z.string(), z.object({ version: z.number().int(), payload: z.string() }));

/**
 * Keeps the highest version of each service that was signed for this host, in `<state>/signed.json`, so that a stolen hub cannot
 * bring back what was replaced.
 *
 * @throws ConfigError when what is kept cannot be read: what was seen is not known then, so nothing may run
 */
export async function keepSignedSpecs(state: string): Promise<SignedSpecs> {
  const file = join(state, "signed.json");
  const seen = await load(file);

  async function remember(service: string, version: number, payload: string): Promise<void> {
    seen.set(service, { version, payload });
    await mkdir(state, { recursive: true, mode: 0o700 });
    // written beside and renamed: a crash leaves the old list or the new one
    await writeFile(`${file}.new`, `${JSON.stringify(Object.fromEntries(seen), undefined, 2)}\n`, { mode: 0o600, flush: true });
    await rename(`${file}.new`, file);
  }

  return {
    async verify({ service, signed }, keys) {
      if (signed === undefined) return { reason: `this host runs only what its operator signed, and ${service} is not signed: fairlead up --sign-key` };
      let payload: Uint8Array;
      try {
        const { kid, typ } = decodeProtectedHeader(signed);
        const key = keys.get(kid ?? "");
        if (typ !== signedType) return { reason: `what came with ${service} is no signed spec` };
        if (key === undefined) return { reason: `${service} is signed by a key that is none of this host's operator keys` };
        ({ payload } = await compactVerify(signed, key, { algorithms: [signedAlgorithm] }));
      } catch {
        return { reason: `the signature of ${service} is not good` };
      }
      const spec = parse(payload);
      if (spec === undefined) return { reason: `what was signed of ${service} is not understood: this agent may be older than what signed it` };
      if (spec.service !== service) return { reason: `what came with ${service} was signed for service ${spec.service}` };
      const hash = createHash("sha256").update(payload).digest("base64");
      const known = seen.get(service);
      if (known !== undefined && spec.version < known.version) return { reason: `version ${spec.version} of ${service} is older than version ${known.version}, which this host has seen: to go back, sign it again` };
      if (known !== undefined && spec.version === known.version && hash !== known.payload) return { reason: `this host has seen another version ${spec.version} of ${service}: sign it again` };
      if (known?.version !== spec.version) await remember(service, spec.version, hash);
      return { spec };
    },
  };
}

function parse(payload: Uint8Array): SignedSpec | undefined {
  try {
    return signedSpecSchema.safeParse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload))).data;
  } catch {
    return undefined;
  }
}

async function load(file: string): Promise<Map<string, { version: number; payload: string }>> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return new Map();
    throw new ConfigError(`Cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    return new Map(Object.entries(seenSchema.parse(JSON.parse(text))));
  } catch {
    throw new ConfigError(`Cannot use ${file}: it is damaged, and says which versions this host must not go below. Put it right, or remove it and have every service signed again`);
  }
}
