import { expect, test } from "vitest";
import { decrypt, openSealed, sharedKey, toBase64 } from "../schema/seal.ts";
import { parseService } from "../schema/service.ts";
import type { ServiceRow } from "../schema/tables.ts";
import { lockSecrets, openVault, sealService, taskDigest, unlockSecrets } from "./secrets.ts";

const vault = await openVault("a shared secret of some length");
const secrets = { replica: { T: "shh" }, apiKeys: { p: "sk-1" }, headers: { p: { "x-org": "shh" } } };

function taskOf(yaml: string) {
  const task = parseService(yaml, { name: "chat" }).service?.task;
  if (task === undefined) throw new Error(yaml);
  return task;
}

test("secrets come back from the database as they went in, and only for their service and key", async () => {
  const locked = await lockSecrets(vault, "chat", secrets);
  expect(locked).not.toContain("shh");
  expect(await unlockSecrets(vault, "chat", locked)).toEqual(secrets);
  await expect(unlockSecrets(vault, "other", locked)).rejects.toThrow('Cannot open the secrets of service "other"');
  await expect(unlockSecrets(await openVault("another secret, as long"), "chat", locked)).rejects.toThrow("FAIRLEAD_SHARED_KEY");
});

test("sealService() seals for each host that is not revoked, and keys for the edge", async () => {
  const pair = (await crypto.subtle.generateKey("X25519", true, ["deriveBits"])) as CryptoKeyPair;
  const sealKey = toBase64(new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer));
  const spec = parseService("service: {}\nrun: a $PORT", { name: "chat" }).service;
  const row = { name: "chat", version: 1, yaml: "", spec, secrets: await lockSecrets(vault, "chat", secrets), signed: null, previous: null, mode: null, readySince: null, createdAt: 0, updatedAt: 0, deletedAt: null } as ServiceRow;
  const host = { id: "h", name: "h", region: "local" as const, publicKey: "", sealKey, rotatedAt: null, previousKey: null, previousUntil: null, releases: 0, createdAt: 0, revokedAt: null, drainingAt: null };
  const sealed = await sealService(vault, row, [host, { ...host, id: "gone", revokedAt: 1 }]);
  expect(Object.keys(sealed.hosts)).toEqual(["h"]);
  expect(await openSealed(pair.privateKey, "secrets:chat", sealed.hosts["h"] ?? "")).toBe('{"T":"shh"}');
  expect(await decrypt(await sharedKey("a shared secret of some length"), "provider:chat:p", sealed.apiKeys["p"] ?? "")).toBe("sk-1");
  expect(await decrypt(await sharedKey("a shared secret of some length"), "provider-headers:chat:p", sealed.headers["p"] ?? "")).toBe('{"x-org":"shh"}');
});

const base = "service: {}\nenvs: {A: 1, B: 2}\nrun: a $PORT";
test.each<[string, string, Record<string, string>, boolean]>([
  ["nothing", base, { T: "shh" }, true],
  ["the probe", "service: {readiness_probe: /up}\nenvs: {A: 1, B: 2}\nrun: a $PORT", { T: "shh" }, true],
  ["the order of envs", "service: {}\nenvs: {B: 2, A: 1}\nrun: a $PORT", { T: "shh" }, true],
  ["the number of replicas", "service: {replicas: 3}\nenvs: {A: 1, B: 2}\nrun: a $PORT", { T: "shh" }, true],
  ["how it scales and rolls out", "service: {replica_policy: {min_replicas: 0, max_replicas: 9, target_qps_per_replica: 2, spot_placer: spothedge}, rollout: {mode: canary}, scale_from_zero: {hold: 5s}}\nenvs: {A: 1, B: 2}\nresources: {use_spot: true}\nrun: a $PORT", { T: "shh" }, true],
  ["where it may run", `${base}\nresources: {infra: aws/us-east-1}`, { T: "shh" }, true],
  ["a secret", base, { T: "other" }, false],
  ["an env", "service: {}\nenvs: {A: 1, B: 3}\nrun: a $PORT", { T: "shh" }, false],
  ["run", "service: {}\nenvs: {A: 1, B: 2}\nrun: b $PORT", { T: "shh" }, false],
  ["setup", `${base}\nsetup: x`, { T: "shh" }, false],
  ["workdir", `${base}\nworkdir: /x`, { T: "shh" }, false],
  ["GPUs", `${base}\nresources: {accelerators: L4}`, { T: "shh" }, false],
  ["the port", "service: {}\nenvs: {A: 1, B: 2}\nresources: {ports: 80}\nrun: a", { T: "shh" }, false],
])("taskDigest() when %s changed", async (_name, yaml, given, same) => {
  const before = await taskDigest(vault, taskOf(base), { T: "shh" });
  expect((await taskDigest(vault, taskOf(yaml), given)) === before).toBe(same);
});

test("taskDigest() of a task that names accelerators tells them apart, and is that of before for one that names none", async () => {
  const digests = await Promise.all(["L4", "l4:1", "A100", "{L4, A100}"].map((names) => taskDigest(vault, taskOf(`${base}\nresources: {accelerators: ${names}}`), {})));
  expect(digests[1]).toBe(digests[0]);
  expect(new Set(digests).size).toBe(3);
  // worked out by the version before accelerators were in it
  expect(await taskDigest(vault, taskOf(base), {})).toBe("fd601f564dbe3daed4a65c2407c22ecbb68b9e82cae6cef4fceaa5955135e9d1");
});
