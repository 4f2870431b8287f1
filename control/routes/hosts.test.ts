import { describe, expect, test } from "vitest";
import { keyId, newKey } from "../../schema/key.ts";
import { enrolText, rotateText } from "../../schema/protocol.ts";
import { toBase64 } from "../../schema/seal.ts";
import { admin, caller, controlUnderTest, yaml } from "../../test/control.ts";

const control = controlUnderTest();
const call = caller(control);

describe("enrolment", () => {
  async function agent() {
    const raw = async (key: CryptoKey) => toBase64(new Uint8Array((await crypto.subtle.exportKey("raw", key)) as ArrayBuffer));
    const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
    const seal = (await crypto.subtle.generateKey("X25519", true, ["deriveBits"])) as CryptoKeyPair;
    const [publicKey, sealKey] = [await raw(pair.publicKey), await raw(seal.publicKey)];
    const request = async (token: string, signedFor = keyId(token, "flj") ?? "") => {
      const signature = toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, new TextEncoder().encode(enrolText(signedFor, publicKey, sealKey)))));
      return { token, name: "box", publicKey, sealKey, signature };
    };
    return { request, publicKey };
  }
  const invite = async () => (await call("POST", "/v1/hosts/invites", {})).body;
  const enrol = (request: unknown) => call("POST", "/v1/enrol", request, {});

  test("takes an invited host in, publishes it, and lets it go again", async () => {
    const invited = await invite();
    expect(invited.command).toBe("fairlead-agent join --control http://localhost --token-file -");
    expect(invited.expiresAt).toBe(control.now + 900_000);
    const { request, publicKey } = await agent();
    const { status, body } = await enrol(await request(invited.token));
    expect(status).toBe(201);
    expect(body).toEqual({ host: expect.stringMatching(/^host_/), region: "local", fleetUrl: "http://fleet.example" });
    expect(control.edge.bundles.at(-1)?.fleet.hosts).toEqual([{ id: body.host, name: "box", region: "local", publicKey, revoked: false }]);
    expect((await call("GET", "/v1/hosts")).body.hosts).toMatchObject([{ id: body.host, revokedAt: null }]);
    expect((await call("DELETE", `/v1/hosts/${body.host}`)).body).toMatchObject({ revoked: true, published: true });
    expect(control.edge.bundles.at(-1)?.fleet.hosts).toMatchObject([{ id: body.host, revoked: true }]);
  });

  test("wants a host empty, and no longer; the edge is told, and hears nothing new of what it knows", async () => {
    const { body: { host } } = await enrol(await (await agent()).request((await invite()).token));
    const drain = (draining: boolean, id: unknown = host) => call("PUT", `/v1/hosts/${String(id)}/draining`, { draining });
    expect((await drain(true)).body).toEqual({ id: host, name: "box", draining: true, published: true });
    expect(control.edge.bundles.at(-1)?.fleet.hosts).toMatchObject([{ id: host, draining: true }]);
    const since = (await call("GET", "/v1/hosts")).body.hosts;
    control.now += 60_000;
    await drain(true);
    expect((await call("GET", "/v1/hosts")).body.hosts).toEqual(since);
    expect((await drain(false)).body).toMatchObject({ draining: false });
    expect(control.edge.bundles.at(-1)?.fleet.hosts[0]).not.toHaveProperty("draining");
    expect((await drain(true, "none")).body.error.message).toBe('Cannot drain host "none": there is no such host, or it is revoked');
    await call("DELETE", `/v1/hosts/${String(host)}`);
    expect((await drain(true)).status).toBe(404);
  });

  test("of ten with one token takes exactly one", async () => {
    const { token } = await invite();
    const requests = await Promise.all(Array.from({ length: 10 }, async () => (await agent()).request(token)));
    const statuses = (await Promise.all(requests.map(enrol))).map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([201, ...Array(9).fill(403)]);
    expect((await call("GET", "/v1/hosts")).body.hosts).toHaveLength(1);
  });

  test("refuses a token that is too old, unknown, or of another kind", async () => {
    const { request } = await agent();
    const { token } = await invite();
    control.now += 900_001;
    expect((await enrol(await request(token))).body.error.message).toContain("older than 15 minutes");
    expect((await enrol(await request(newKey("flj").key))).body.error.message).toContain("is not known");
    for (const other of [admin.key, newKey("fl").key]) expect(await enrol(await request(other))).toMatchObject({ status: 401, body: { error: { param: "token" } } });
  });

  test("refuses a proof for another token or key, and leaves the token to its owner", async () => {
    const { request } = await agent();
    const { token } = await invite();
    const good = await request(token);
    const cases = [await request(token, "another"), { ...good, sealKey: toBase64(new Uint8Array(32)) }, { ...good, publicKey: (await agent()).publicKey }];
    for (const bad of cases) expect(await enrol(bad)).toMatchObject({ status: 403, body: { error: { code: "permission_denied", param: "signature" } } });
    for (const field of ["publicKey", "sealKey", "signature"]) expect(await enrol({ ...good, [field]: "AAAA" })).toMatchObject({ status: 400, body: { error: { param: field } } });
    expect((await enrol(good)).status).toBe(201);
  });

  test("seals a service's secrets to the host", async () => {
    const { request } = await agent();
    const { body } = await enrol(await request((await invite()).token));
    await call("PUT", "/v1/services/chat", { yaml: `${yaml}secrets: {T: shh}` });
    expect(Object.keys(control.edge.bundles.at(-1)?.fleet.services[0]?.sealedSecrets ?? {})).toEqual([body.host]);
    // and those of the version before, which may be gone back to
    await call("PUT", "/v1/services/chat", { yaml: `${yaml.replace("serve", "serve2")}secrets: {T: shh-2}` });
    expect(Object.keys(control.edge.bundles.at(-1)?.fleet.services[0]?.previous?.sealedSecrets ?? {})).toEqual([body.host]);
    expect(JSON.stringify(control.edge.bundles)).not.toContain("shh");
  });
});

describe("a host's keys", () => {
  const pair = async () => {
    const made = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
    const sign = async (text: string) => toBase64(new Uint8Array(await crypto.subtle.sign("Ed25519", made.privateKey, new TextEncoder().encode(text))));
    return { publicKey: toBase64(new Uint8Array((await crypto.subtle.exportKey("raw", made.publicKey)) as ArrayBuffer)), sign };
  };
  const sealKey = toBase64(new Uint8Array(32).fill(9));
  type Pair = Awaited<ReturnType<typeof pair>>;
  const hostOf = (id: string) => control.edge.bundles.at(-1)?.fleet.hosts.find((one) => one.id === id);

  async function enrolled(): Promise<{ host: string; old: Pair }> {
    const old = await pair();
    const { token } = (await call("POST", "/v1/hosts/invites", {})).body as { token: string };
    const signature = await old.sign(enrolText(keyId(token, "flj") ?? "", old.publicKey, sealKey));
    return { host: (await call("POST", "/v1/enrol", { token, name: "box", publicKey: old.publicKey, sealKey, signature })).body.host as string, old };
  }
  const rotateTo = async (host: string, old: Pair, next: Pair, { onFile = old.publicKey } = {}) => {
    const text = rotateText(host, onFile, next.publicKey, sealKey);
    return call("POST", "/v1/enrol/rotate", { host, publicKey: next.publicKey, sealKey, signature: await next.sign(text), previousSignature: await old.sign(text) }, {});
  };

  test("are replaced by ones that both prove, overlap for a day, and a repeated call changes nothing", async () => {
    const { host, old } = await enrolled();
    const next = await pair();
    const first = await rotateTo(host, old, next);
    expect([first.status, first.body]).toEqual([200, { previousUntil: control.now + 86_400_000 }]);
    await control.edge.bundle((sent) => sent.fleet.hosts.some((one) => one.previousKey !== undefined));
    expect(hostOf(host)).toMatchObject({ publicKey: next.publicKey, previousKey: { publicKey: old.publicKey, until: control.now + 86_400_000 } });
    control.now += 1_000;
    expect((await rotateTo(host, old, next)).body).toEqual(first.body);
    // the old key is for the links of a day, not for making yet another one
    expect((await rotateTo(host, old, await pair())).status).toBe(403);
    expect((await rotateTo(host, next, await pair())).status).toBe(200);
  });

  test("are not replaced without the old one, without the new one, or of a revoked host", async () => {
    const { host, old } = await enrolled();
    const [thief, next] = [await pair(), await pair()];
    expect((await rotateTo(host, thief, next, { onFile: old.publicKey })).status).toBe(403);
    expect((await rotateTo(host, old, { ...next, sign: thief.sign })).status).toBe(403);
    expect((await rotateTo("host_nobody", old, next)).status).toBe(403);
    await call("DELETE", `/v1/hosts/${host}`);
    expect((await rotateTo(host, old, next)).status).toBe(403);
    expect(hostOf(host)).toMatchObject({ publicKey: old.publicKey, revoked: true });
  });

  test("a host that was shut out is let back in by a number that its hub compares, and a revoked one is not", async () => {
    const { host } = await enrolled();
    for (const releases of [1, 2]) {
      expect((await call("POST", `/v1/hosts/${host}/release`)).status).toBe(200);
      expect(hostOf(host)?.releases).toBe(releases);
    }
    await call("DELETE", `/v1/hosts/${host}`);
    expect((await call("POST", `/v1/hosts/${host}/release`)).status).toBe(404);
  });
});
