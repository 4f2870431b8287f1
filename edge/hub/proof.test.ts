import { beforeAll, describe, expect, test } from "vitest";
import type { FleetHost } from "../../schema/bundle.ts";
import { closeCodes, helloText, protocol, protocolMin, type Challenge, type Hello } from "../../schema/protocol.ts";
import { toBase64 } from "../../schema/seal.ts";
import { checkHello } from "./proof.ts";

const challenge: Challenge = { type: "challenge", nonce: "hub's nonce", protocol, protocolMin, region: "local" };

let host: FleetHost;
let sign: (text: string) => Promise<string>;
let hello: Hello;

beforeAll(async () => {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  if (!("privateKey" in pair)) throw new Error("not a pair");
  sign = async (text) => toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, new TextEncoder().encode(text))));
  host = { id: "host_1", name: "one", region: "local", publicKey: toBase64(new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer)), revoked: false };
  hello = await signed({});
});

/** A hello with these fields, signed as its agent would. */
async function signed(fields: Partial<Hello>, over: Challenge = challenge): Promise<Hello> {
  const unsigned: Hello = { type: "hello", host: "host_1", region: "local", protocol, agentVersion: "1", nonce: "agent's nonce", signature: "", ...fields };
  return { ...unsigned, signature: await sign(helloText(over, unsigned)) };
}

const refused = { code: closeCodes.unauthorized, reason: "the host is unknown or revoked, or its proof is wrong" };

describe("checkHello()", () => {
  test("takes a hello that is signed by the host it names, over this challenge", async () => {
    expect(await checkHello(challenge, hello, host, 0)).toBe("ok");
  });

  test("takes an agent that speaks a later protocol as well", async () => {
    expect(await checkHello(challenge, await signed({ protocol: protocol + 5 }), host, 0)).toBe("ok");
  });

  test.each<[string, () => [Challenge, Hello | Promise<Hello>, FleetHost | undefined]]>([
    ["an unknown host", () => [challenge, hello, undefined]],
    ["a revoked host", () => [challenge, hello, { ...host, revoked: true }]],
    ["a host of another region", () => [challenge, hello, { ...host, region: "weur" }]],
    ["a hello for another region", () => [challenge, signed({ region: "weur" }), host]],
    ["a replay under another challenge", () => [{ ...challenge, nonce: "another nonce" }, hello, host]],
    ["a hello relayed to another region's hub", () => [{ ...challenge, region: "weur" }, { ...hello, region: "weur" }, { ...host, region: "weur" }]],
    ["a challenge whose offer was changed on the way", () => [challenge, signed({}, { ...challenge, protocol: protocol + 1 }), host]],
    ["a protocol that was changed on the way", () => [challenge, { ...hello, protocol: protocol + 1 }, host]],
    ["a nonce that was changed on the way", () => [challenge, { ...hello, nonce: "x" }, host]],
    ["a signature of nothing", () => [challenge, { ...hello, signature: "" }, host]],
    ["a signature that is not base64", () => [challenge, { ...hello, signature: "*" }, host]],
    ["a signature that is too short", () => [challenge, { ...hello, signature: "AAAA" }, host]],
    ["a key on file that is not base64", () => [challenge, hello, { ...host, publicKey: "*" }]],
    ["a key on file that is too short", () => [challenge, hello, { ...host, publicKey: "AAAA" }]],
    ["another host's key", () => [challenge, hello, { ...host, publicKey: toBase64(new Uint8Array(32).fill(1)) }]],
  ])("refuses %s, with one answer that does not say which", async (_, given) => {
    const [over, sent, known] = given();
    expect(await checkHello(over, await sent, known, 0)).toEqual(refused);
  });

  test("tells an agent that is too old to upgrade, whoever it is", async () => {
    const old = { code: closeCodes.upgradeRequired, reason: `protocol ${protocolMin - 1} is too old: ${protocolMin} or newer is needed` };
    for (const known of [host, undefined]) expect(await checkHello(challenge, { ...hello, protocol: protocolMin - 1 }, known, 0)).toEqual(old);
  });

  test("takes both keys of a rotation while they overlap, whichever of hub and agent has heard of the new one", async () => {
    const previous = { ...host, publicKey: toBase64(new Uint8Array(32).fill(7)), previousKey: { publicKey: host.publicKey, until: 1_000 } };
    // the hub knows the new key, the agent signs with the old one
    expect(await checkHello(challenge, hello, previous, 999)).toBe("ok");
    expect(await checkHello(challenge, hello, previous, 1_000)).toEqual(refused);
    // the agent signs with both, the hub knows the old one only
    const both = { ...hello, signature: toBase64(new Uint8Array(64)), previousSignature: hello.signature };
    expect(await checkHello(challenge, both, host, 0)).toBe("ok");
    expect(await checkHello(challenge, { ...both, previousSignature: "*" }, host, 0)).toEqual(refused);
  });

  // the failure model's row 19: agents from N-2 to N+1
  test.each([
    [protocolMin - 1, closeCodes.upgradeRequired], [protocolMin, "ok"], [protocol - 1, "ok"], [protocol, "ok"], [protocol + 1, "ok"],
  ])("answers an agent that speaks %i with %s", async (offered, expected) => {
    const verdict = await checkHello(challenge, await signed({ protocol: offered }), host, 0);
    expect(verdict === "ok" ? verdict : verdict.code).toBe(expected);
  });
});
