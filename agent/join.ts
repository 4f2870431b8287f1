import { readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join as pathOf } from "node:path";
import { text as readAll } from "node:stream/consumers";
import { enrolledSchema, type Enrol } from "../schema/api.ts";
import { keyId } from "../schema/key.ts";
import { enrolText } from "../schema/protocol.ts";
import { findIdentity, IdentityError, loadKeys, saveControl, saveIdentity, type Identity } from "./identity.ts";
import { readOperatorKeys } from "./signedSpecs.ts";
import { pinnedKeys } from "./trust.ts";

export interface JoinOptions {
  /** Address of the control API. */
  control: string;
  /** A file with the join token, or `-` for standard input. */
  tokenFile: string;
  name: string | undefined;
  state: string;
  /** Files with operators' public keys, to be pinned: what they sign may run here. */
  operatorKeys?: readonly string[] | undefined;
}

/**
 * Makes this host a member of the fleet: its keys are made here, its public halves and the proof of having the others go to
 * control with a single-use token.
 *
 * @throws IdentityError with what is wrong, in words
 */
export async function join({ control, tokenFile, name = hostname(), state, operatorKeys = [] }: JoinOptions): Promise<Identity> {
  const known = await findIdentity(state);
  if (known) throw new IdentityError(`Cannot join: this host is ${known.host} already. To join again under a new id, remove ${state}/identity.json first`);
  const pinned = await readPinned(operatorKeys);
  const token = (tokenFile === "-" ? await readAll(process.stdin) : await readToken(tokenFile)).trim();
  const tokenId = keyId(token, "flj");
  if (tokenId === undefined) throw new IdentityError("Cannot join: that is not a join token, or it was not copied whole. `fairlead hosts invite` makes one");
  const keys = await loadKeys(state);
  const request: Enrol = {
    token, name: name.slice(0, 64), publicKey: keys.publicKey, sealKey: keys.sealKey,
    signature: await keys.sign(enrolText(tokenId, keys.publicKey, keys.sealKey)),
  };
  const { url, answer } = await askControl(control, "/v1/enrol", request, "join");
  const enrolled = enrolledSchema.safeParse(answer);
  if (!enrolled.success) throw new IdentityError(`Cannot join: ${url} gave an answer that is not an enrolment`);
  const identity = { ...enrolled.data, name: request.name };
  if (pinned !== "") await writeFile(pathOf(state, pinnedKeys), pinned, { mode: 0o600, flush: true });
  await saveControl(state, control);
  await saveIdentity(state, identity);
  return identity;
}

/** Checked before the token is spent. */
async function readPinned(files: readonly string[]): Promise<string> {
  let text = "";
  for (const file of files) {
    const read = await readFile(file, "utf8").catch((error: Error) => {
      throw new IdentityError(`Cannot join: the operator's key cannot be read: ${error.message}`);
    });
    await readOperatorKeys(read, file);
    text += `${read.trim()}\n`;
  }
  return text;
}

/** Asks control in a host's own name. @throws IdentityError in words */
export async function askControl(control: string, path: string, body: unknown, action: string): Promise<{ url: string; answer: unknown }> {
  const url = `${control.replace(/\/+$/, "")}${path}`;
  let response: Response;
  try {
    response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), redirect: "error", signal: AbortSignal.timeout(30_000) });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : error instanceof Error ? error.message : String(error);
    throw new IdentityError(`Cannot ${action}: ${url} cannot be reached: ${cause}`);
  }
  const answer: unknown = await response.json().catch(() => undefined);
  if (!response.ok) throw new IdentityError(`Cannot ${action}: control answered ${response.status}: ${messageOf(answer)}`);
  return { url, answer };
}

async function readToken(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new IdentityError(`Cannot join: the token file cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function messageOf(answer: unknown): string {
  if (typeof answer !== "object" || answer === null || !("error" in answer)) return "no reason was given";
  const { error } = answer;
  return typeof error === "object" && error !== null && "message" in error ? String(error.message).slice(0, 300) : "no reason was given";
}
