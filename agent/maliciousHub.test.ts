import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CompactSign, calculateJwkThumbprint, exportJWK, exportSPKI, generateKeyPair } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sealTo } from "../schema/seal.ts";
import { newSalt, saltName, secretsCommitment, signedType, type SignedSpec } from "../schema/signedSpec.ts";
import type { Task } from "../schema/task.ts";
import { startHub, type HubStandIn, type RunningAgent } from "./hubStandIn.ts";

/** A hub that a thief plays: a real socket, and a real agent in each of its modes of trust. */

let hub: HubStandIn;
/** What would be there had a hub's own words ever been run. */
let loot: string;

beforeEach(async () => {
  hub = await startHub();
  loot = join(hub.folder, "loot");
  await mkdir(loot);
});
afterEach(() => hub.close());

const steal = (name: string): string => `echo stolen > ${join(loot, name)}`;
const node = JSON.stringify(process.execPath);
/** An engine that answers everything, and leaves its mark in a file. */
const serve = (mark: string): string => `echo ${mark} >> ${join(hub.folder, "ran")}; exec ${node} -e 'require("node:http").createServer((request, response) => response.end(process.env.WORD ?? "none")).listen(process.env.PORT, "127.0.0.1")'`;

const task = (more: Partial<Task> = {}): Task => ({
  service: "chat", version: 1, digest: "d1", run: steal("run"), envs: {}, drainMs: 100, gpus: 0,
  probe: { path: "/health", initialDelayMs: 60_000, timeoutMs: 2_000, intervalMs: 500, failureThresholdMs: 60_000, headers: {} }, ...more,
});
let number = 0;
const replica = (more: object = {}) => ({ id: `chat.local.${++number}`, service: "chat", number, version: 1, digest: "d1", ...more });

/** What no mode runs, whatever it is: each with the reason that the agent gives, or none where there is nothing to say it of. */
async function refused(tasks: unknown[], more: object = {}): Promise<string> {
  const one = replica(more);
  hub.assign(tasks, [one]);
  await hub.until(() => hub.replicas.get(one.id)?.phase === "failed");
  expect(hub.replicas.get(one.id)?.refused).toBe(true);
  return hub.replicas.get(one.id)?.reason ?? "";
}

/** Messages that no hub of ours sends. The agent stays up, whatever it does with the link. */
async function junk(): Promise<void> {
  const links = (): number => hub.heard.filter(({ type }) => type === "hello").length;
  for (const message of [
    { type: "assign", generation: 1e9, tasks: [{ ...task(), run: 7 }], replicas: [] },
    { type: "assign", generation: "next", tasks: [task()], replicas: [replica()] },
    { type: "assign", generation: 1e9, tasks: [task()], replicas: [replica({ id: "../../etc/cron.d/x" })] },
    { type: "assign", generation: 1e9, tasks: [task({ probe: { ...task().probe, path: "health" } })], replicas: [replica()] },
    { type: "run", command: steal("command") },
    { type: "welcome", epoch: 1 },
  ]) hub.say(message);
  const before = links();
  hub.say(`{"type":"assign","generation":2000000000,"pad":"${"x".repeat(4 * 1024 * 1024)}"}`);
  await hub.until(() => links() > before);
  const again = links();
  hub.say(new Uint8Array([1, 2, 3]));
  await hub.until(() => links() > again);
}

async function nothingRan(): Promise<void> {
  expect(await readdir(loot)).toEqual([]);
  const scripts = join(hub.folder, "s", "scripts");
  for (const file of existsSync(scripts) ? await readdir(scripts) : []) expect(file).not.toMatch(/setup$/);
}

describe("trust: templates", { timeout: 120_000 }, () => {
  const templates = (): string => `
templates:
  echo:
    argv: [${node}, -e, "require('node:http').createServer((request, response) => response.end(JSON.stringify([process.argv.slice(1), process.env.WORD, process.env.FIXED]))).listen(Number(process.argv[1]), '127.0.0.1')", "{port}", "{word}", "--size={size}", "{colour}"]
    parameters:
      word: {type: string, pattern: "[^/]*"}
      size: {type: integer, min: 1, max: 9, default: 3}
      colour: {type: enum, values: [red, blue], default: red}
    env: {FIXED: "by its owner"}
    allow_env: [WORD]
`;

  async function start(more = ""): Promise<void> {
    const file = join(hub.folder, "templates.yaml");
    await writeFile(file, templates(), { mode: 0o644 });
    await hub.agent(`trust: templates\ntemplates: ${file}\n${more}`);
  }
  const use = (parameters: Record<string, unknown>, more: Partial<Task> = {}): Task => task({ run: "", template: { name: "echo", parameters: parameters as Record<string, string> }, ...more });

  test("a malicious hub cannot start anything the host does not allow, and the agent says why", async () => {
    await start();
    expect(await refused([task()])).toMatch(/runs templates only .* chat names none.* there is echo/);
    expect(await refused([use({ word: "a" }, { run: steal("beside") })])).toContain("cannot bring run, setup or workdir");
    expect(await refused([use({ word: "a" }, { setup: steal("setup") })])).toContain("cannot bring run, setup or workdir");
    expect(await refused([use({ word: "a" }, { workdir: loot })])).toContain("cannot bring run, setup or workdir");
    expect(await refused([task({ run: "", template: { name: "shell", parameters: {} } })])).toContain('has no template "shell"');
    expect(await refused([task({ run: "", template: { name: "__proto__", parameters: {} } })])).toContain("has no template");
    expect(await refused([use({})])).toContain('parameter "word" is missing');
    expect(await refused([use({ word: "a", extra: "b" })])).toContain('no parameter "extra"');
    expect(await refused([use({ word: "--eval" })])).toContain('must not begin with "-"');
    expect(await refused([use({ word: "a/b" })])).toContain("does not match");
    expect(await refused([use({ word: "a\nb" })])).toContain("control character");
    expect(await refused([use({ word: "a".repeat(300) })])).toContain("at most 256");
    expect(await refused([use({ word: "a", size: 10 })])).toContain("from 1 to 9");
    expect(await refused([use({ word: "a", size: "1; true" })])).toContain("whole number");
    expect(await refused([use({ word: "a", colour: "green" })])).toContain("one of red, blue");
    expect(await refused([use({ word: "a" }, { envs: { LD_PRELOAD: "/x.so" } })])).toContain("does not let a service set LD_PRELOAD");
    expect(await refused([use({ word: "a" }, { gpus: 1 })])).toContain("1 GPUs are more than the 0");
    expect(await refused([use({ word: "a" }, { probe: { ...task().probe, path: "/collective_rpc", postBody: "{}" } })])).toContain("the gate lets nobody reach");
    expect(await refused([use({ word: "a" }, { service: "other" })])).toContain("sent no task");
    await junk();
    await nothingRan();
  });

  test("a secret that the template does not name is not given, by whichever way it comes", async () => {
    await start();
    const sealedSecrets = await sealTo(hub.keys?.sealKey ?? "", "secrets:chat", JSON.stringify({ LD_PRELOAD: "/x.so" }));
    expect(await refused([use({ word: "a" }, { sealedSecrets })])).toContain("does not let it be given the secret LD_PRELOAD");
  });

  test("what the host allows runs, each parameter as one argument whatever is in it", async () => {
    await start();
    const one = replica();
    const word = "$(touch x) '\"`; | & > * ~ \\ {port} é";
    hub.assign([use({ word, size: 4 }, { envs: { WORD: "w" } })], [one]);
    await hub.until(() => hub.replicas.get(one.id)?.phase === "ready", 20_000);
    const [status, body = ""] = (await hub.ask(one.id, "GET", "/health")).split(/ (.*)/s);
    const [argv, env, fixed] = JSON.parse(body.replace("<end>", "")) as [string[], string, string];
    expect([status, argv.slice(1), env, fixed]).toEqual(["200", [word, "--size=4", "red"], "w", "by its owner"]);
    // the same replica's other paths are nobody's to call
    expect(await hub.ask(one.id, "POST", "/collective_rpc")).toMatch(/^403 .*"code":"permission_denied".*<end>$/);
  });

  test("a templates file that others can write is refused at the start", async () => {
    const file = join(hub.folder, "templates.yaml");
    await writeFile(file, templates());
    await chmod(file, 0o666);
    await expect(hub.agent(`trust: templates\ntemplates: ${file}\n`)).rejects.toThrow("can be written by others");
  });

  test("the owner's override takes away again, and its kill switch drains within seconds", async () => {
    const override = join(hub.folder, "override.yaml");
    await writeFile(override, "max_replicas: 1\nallowed_services: [ch*]\n", { mode: 0o644 });
    await start(`override: ${override}\n`);
    const [one, two, other] = [replica(), replica(), replica({ id: "other.local.1", service: "other" })];
    hub.assign([use({ word: "a" }), use({ word: "a" }, { service: "other" })], [one, two, other]);
    await hub.until(() => hub.replicas.get(one.id)?.phase === "ready", 20_000);
    expect(hub.replicas.get(two.id)?.reason).toBe("this host's owner allows 1 replica here, and 1 run");
    expect(hub.replicas.get(other.id)?.reason).toBe("this host's owner does not allow service other here");
    await writeFile(override, "stop: true\n");
    await hub.until(() => hub.replicas.get(one.id)?.phase === "stopped");
    expect(hub.reasons).toContain("this host's owner has stopped it");
    const beat = hub.heard.findLast(({ type }) => type === "heartbeat");
    expect(beat).toMatchObject({ draining: true });
  });
});

describe("trust: signed-specs", { timeout: 120_000 }, () => {
  let operator: Awaited<ReturnType<typeof generateKeyPair>>;
  let keyId: string;

  beforeEach(async () => {
    operator = await generateKeyPair("EdDSA", { extractable: true });
    keyId = await calculateJwkThumbprint(await exportJWK(operator.publicKey));
  });

  const spec = (more: Partial<SignedSpec> = {}, taskMore: Partial<Task> = {}): SignedSpec => {
    const { service: _service, version: _version, digest: _digest, ...rest } = task({ run: serve(`v${more.version ?? 5}`), ...taskMore });
    return { service: "chat", version: 5, signedAt: 1, replicasMax: 1, task: rest, ...more };
  };
  const sign = (payload: unknown, { key = operator.privateKey, kid = keyId, typ = signedType, alg = "EdDSA" } = {}): Promise<string> =>
    new CompactSign(new TextEncoder().encode(JSON.stringify(payload))).setProtectedHeader({ alg, kid, typ }).sign(key);

  async function start(): Promise<RunningAgent> {
    const file = join(hub.folder, "operator.pub");
    await writeFile(file, await exportSPKI(operator.publicKey));
    return hub.agent("trust: signed-specs\n", [file]);
  }

  test("a malicious hub cannot forge, alter, retarget or enlarge what the operator signed", async () => {
    await start();
    const good = await sign(spec());
    const [header = "", payload = "", signature = ""] = good.split(".");
    const other = await generateKeyPair("EdDSA", { extractable: true });
    const altered = Buffer.from(JSON.stringify(spec({}, { run: steal("altered") }))).toString("base64url");
    const unsigned = Buffer.from(JSON.stringify({ alg: "none", kid: keyId, typ: signedType })).toString("base64url");
    expect(await refused([task()])).toContain("is not signed");
    expect(await refused([task({ signed: "" })])).toContain("is not good");
    expect(await refused([task({ signed: `${header}.${altered}.${signature}` })])).toContain("signature of chat is not good");
    expect(await refused([task({ signed: `${unsigned}.${altered}.` })])).toContain("is not good");
    expect(await refused([task({ signed: `${header}.${payload}.${"A".repeat(86)}` })])).toContain("is not good");
    expect(await refused([task({ signed: await sign(spec({}, { run: steal("forged") }), { key: other.privateKey }) })])).toContain("is not good");
    expect(await refused([task({ signed: await sign(spec({}, { run: steal("forged") }), { key: other.privateKey, kid: "theirs" }) })])).toContain("none of this host's operator keys");
    expect(await refused([task({ signed: await sign({ hello: "world" }) })])).toContain("is not understood");
    expect(await refused([task({ signed: await sign({ ...spec(), limitsOfTomorrow: 1 }) })])).toContain("is not understood");
    expect(await refused([task({ signed: await sign(spec(), { typ: "JWT" }) })])).toContain("no signed spec");
    expect(await refused([task({ signed: await sign(spec({ service: "other" })) })])).toContain("was signed for service other");
    expect(await refused([task({ service: "other", signed: good })], { id: "other.local.1", service: "other" })).toContain("was signed for service chat");
    await junk();
    await nothingRan();
    expect(existsSync(join(hub.folder, "ran"))).toBe(false);
  });

  test("what runs is what was signed, whatever is said beside it, and no more of it than was signed", async () => {
    await start();
    const one = replica();
    const two = replica();
    // refused at first, and let in when the signature comes
    hub.assign([task()], [one]);
    await hub.until(() => hub.replicas.get(one.id)?.phase === "failed");
    hub.assign([task({ signed: await sign(spec()), run: steal("beside"), setup: steal("setup"), envs: { WORD: "stolen" }, workdir: loot })], [one, two]);
    await hub.until(() => hub.replicas.get(one.id)?.phase === "ready", 20_000);
    expect(await hub.ask(one.id, "GET", "/health")).toBe("200 none<end>");
    expect(hub.replicas.get(two.id)?.reason).toBe("its operator signed 1 replica of it, and 1 run on this host");
    // the one takes the other's place as soon as that is to go
    hub.assign([task({ signed: await sign(spec()) })], [two]);
    await hub.until(() => hub.replicas.get(two.id)?.phase === "ready", 20_000);
    await nothingRan();
  });

  test("a version below one that the host has seen is refused, also after the agent was started again", async () => {
    const first = await start();
    const [old, good] = [await sign(spec({ version: 4 })), await sign(spec({ version: 5 }))];
    const one = replica();
    hub.assign([task({ signed: good })], [one]);
    await hub.until(() => hub.replicas.get(one.id)?.phase === "ready", 20_000);
    expect(await refused([task({ signed: old, digest: "d0" })], { digest: "d0" })).toContain("version 4 of chat is older than version 5, which this host has seen");
    expect(await refused([task({ signed: await sign(spec({ version: 5 }, { run: steal("second") })), digest: "d9" })], { digest: "d9" })).toContain("another version 5");
    first.child.kill("SIGKILL");
    await first.exit;
    const hellos = hub.heard.filter(({ type }) => type === "hello").length;
    hub.start("run", "--config", join(hub.folder, "agent.yaml"));
    await hub.until(() => hub.heard.filter(({ type }) => type === "hello").length > hellos);
    expect(await refused([task({ signed: old, digest: "d0" })], { digest: "d0" })).toContain("version 4 of chat is older than version 5");
    await nothingRan();
  });

  test("secrets come through sealed, and neither another value nor another name gets in", async () => {
    await start();
    const salt = newSalt();
    const seal = (secrets: Record<string, string>): Promise<string> => sealTo(hub.keys?.sealKey ?? "", "secrets:chat", JSON.stringify(secrets));
    const signed = await sign(spec({ secrets: await secretsCommitment(salt, { WORD: "whisper" }) }));
    const wrong = [{ [saltName]: salt, WORD: "shout" }, { [saltName]: salt, WORD: "whisper", LD_PRELOAD: "/x.so" }, { WORD: "whisper" }, {}];
    const tasks = await Promise.all(wrong.map(async (secrets, i) => task({ digest: `w${i}`, signed, sealedSecrets: await seal(secrets as Record<string, string>) })));
    const refusals = wrong.map((_, i) => replica({ digest: `w${i}` }));
    hub.assign(tasks, refusals);
    await hub.until(() => refusals.every(({ id }) => hub.replicas.get(id)?.phase === "failed"));
    for (const { id } of refusals) expect(hub.replicas.get(id)?.reason).toContain("its secrets are not those that its operator signed");
    expect(existsSync(join(hub.folder, "ran"))).toBe(false);
    const one = replica();
    hub.assign([task({ signed, sealedSecrets: await seal({ [saltName]: salt, WORD: "whisper" }) })], [one]);
    await hub.until(() => hub.replicas.get(one.id)?.phase === "ready", 20_000);
    expect(await hub.ask(one.id, "GET", "/health")).toBe("200 whisper<end>");
  });

  test("without an operator's key it does not start, and says what is missing", async () => {
    await expect(hub.agent("trust: signed-specs\n")).rejects.toThrow("this host has no operator's key");
  });
});

describe("trust: unsigned", { timeout: 120_000 }, () => {
  test("malformed and oversize messages start nothing and do not end the agent", async () => {
    const { child, out } = await hub.agent("trust: unsigned\n");
    await junk();
    await nothingRan();
    expect([child.exitCode, out()]).toEqual([null, expect.stringContaining("a message that cannot be used was ignored")]);
  });
});
