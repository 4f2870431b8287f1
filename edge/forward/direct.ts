import { gateHeaders, gateHealthPath, gateTimes, makePass, passKey } from "../../schema/gate.ts";
import { linkTimes } from "../../schema/protocol.ts";
import type { RouterEnv } from "../env.ts";
import { refusedAddress } from "../provider/address.ts";
import { Gates } from "./gates.ts";
import type { HeaderObject } from "./headers.ts";
import { carriageOutcome, type CarriageFailure } from "./outcome.ts";
import type { Asked } from "./reattach.ts";
import { suspects } from "./relays.ts";
import { orSilence } from "./silence.ts";

/** A host's gate, as its snapshot tells of it. */
export interface GateOf {
  host: string;
  url: string;
  /** base64 */
  key: string;
}

/** One way to an answer. */
export interface AskGate {
  method: string;
  path: string;
  /** With target, request and attempt among them. */
  headers: HeaderObject;
  body: string | null;
}

/** Of the second within which a dispatch is to be acknowledged, one half is the replica's and one is for the question whether anybody is there. */
const silentMs = linkTimes.dispatchAckMs / 2;
const gates = new Gates();
/** Keys of sessions; hosts come and go, and an isolate lives for long. */
const keys = new Map<string, CryptoKey>();
const keysMax = 1_024;
/** Why a gate's address is not called, by address; undefined for those that are. */
const judged = new Map<string, string | undefined>();

async function keyOf(text: string): Promise<CryptoKey> {
  const known = keys.get(text);
  if (known !== undefined) return known;
  const key = await passKey(text);
  if (keys.size >= keysMax) keys.clear();
  keys.set(text, key);
  return key;
}

/** An address is judged as a provider's is: a host must not make the edge call what is private. */
function refused(env: RouterEnv, { url, host }: GateOf): boolean {
  if (!judged.has(url)) {
    const allowed = (env.FAIRLEAD_ALLOWED_ENDPOINTS ?? "").split(",").map((entry) => entry.trim()).filter((entry) => entry !== "");
    const why = refusedAddress(url, { local: env.FAIRLEAD_LOCAL === "1", allowed });
    if (why !== undefined) console.warn(JSON.stringify({ message: "a gate is not called: its host is asked through its relays", host, url, why }));
    if (judged.size >= keysMax) judged.clear();
    judged.set(url, why);
  }
  return judged.get(url) !== undefined;
}

/** Whether a host's gate is to be asked. */
export function gateUsable(env: RouterEnv, gate: GateOf, now: number): boolean {
  return gates.usable(gate.host, now) && !refused(env, gate);
}

/** Whether anybody is there: a gate that holds a request says nothing before its replica does. */
async function isThere(url: string): Promise<boolean> {
  try {
    const response = await fetch(url + gateHealthPath, { signal: AbortSignal.timeout(silentMs) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

/** By which what is remembered of a host's gate is kept, beside its relays. */
export function gateName(host: string): string {
  return `${host}/gate`;
}

/** Asks a gate, of whose answer nothing comes, whether it is there. One that does not say so is not used for a while, and its host's relays have the rest. */
export async function askWhether({ host, url }: GateOf): Promise<void> {
  if (await isThere(url)) return void suspects.answered(gateName(host), true, Date.now());
  gates.failed(host, Date.now());
  if (suspects.silence(gateName(host), Date.now())) console.warn(JSON.stringify({ message: "a gate does not answer: requests go by its host's relays", host, url }));
}

/** Ask through a gate. What goes wrong on the way there says nothing against the replica: a relay is asked next, for the same attempt. */
export async function askGate(gate: GateOf, { method, path, headers, body }: AskGate, signal: AbortSignal | undefined): Promise<Asked> {
  const { host, url, key } = gate;
  const header = (name: string): string => headers[name] ?? "";
  const expiresAt = Date.now() + gateTimes.passMs;
  const pass = await makePass(await keyOf(key), { host, target: header(gateHeaders.target), method, path, requestId: header(gateHeaders.request), attempt: header(gateHeaders.attempt), expiresAt, nonce: crypto.randomUUID() });
  const own = new AbortController();
  const end = (): void => own.abort();
  signal?.addEventListener("abort", end);
  const absent = (why: string): Asked => {
    gates.failed(host, Date.now());
    signal?.removeEventListener("abort", end);
    return { reply: { kind: "unsent", why: `the gate of its host: ${why}` }, carrier: "absent" };
  };
  try {
    const asked = fetch(url + path, { method, headers: { ...headers, [gateHeaders.pass]: pass }, body, redirect: "manual", signal: own.signal });
    // whoever gives up waiting for it must not leave it unhandled
    asked.catch(() => undefined);
    if ((await orSilence(asked.then(() => true), silentMs)) === "silent" && !(await isThere(url))) {
      own.abort();
      return absent("nobody answers");
    }
    const response = await asked;
    const failure = response.headers.get(gateHeaders.failure);
    if (failure !== null) {
      await response.body?.cancel();
      const why = response.headers.get("x-fairlead-reason") ?? "";
      // not ours to mend: another session's pass, or a clock of the edge that is wrong
      if (failure === "refused") return absent(why);
      gates.answered(host);
      return { reply: carriageOutcome(failure as CarriageFailure, why), carrier: "good" };
    }
    // whoever answers at that address is not the gate, or answers another request
    if (response.headers.get(gateHeaders.request) !== header(gateHeaders.request)) {
      await response.body?.cancel();
      own.abort();
      return absent("the answer is another request's");
    }
    gates.answered(host);
    suspects.unsilence(gateName(host), Date.now());
    return { reply: { kind: "answer", response }, carrier: "good" };
  } catch (error) {
    gates.failed(host, Date.now());
    return { reply: { kind: "lost", why: error instanceof Error ? error.message : String(error) }, carrier: "lost" };
  }
}
