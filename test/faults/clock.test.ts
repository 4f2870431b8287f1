import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { linkTimes } from "../../schema/protocol.ts";
import { claimPort } from "../../scripts/local/ports.ts";
import { Agent } from "../e2e/agent.ts";
import { engineYaml, until, World } from "../e2e/world.ts";
import { Proxy } from "../proxy/proxy.ts";

/** libfaketime for programs with threads, by the command that comes with it (Debian: `faketime`), which stays in between where it starts one. */
const library = spawnSync("faketime", ["-m", "-f", "+0d", "sh", "-c", "echo $LD_PRELOAD"]).stdout?.toString().trim() ?? "";
const lacking = library === "" ? "there is no faketime here (Debian: faketime)" : undefined;
const dayMs = 86_400_000;
const hosts = [
  { name: "ahead", by: "+1d", byMs: dayMs },
  { name: "behind", by: "-1d", byMs: -dayMs },
];

let world: World;
let operatorKey = "";
const agents: Agent[] = [];
const gates: Proxy[] = [];

async function cli(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await world.cli(args);
  if (code !== 0) throw new Error(`fairlead ${args.join(" ")} exited with ${code}: ${stderr}`);
  return stdout;
}

interface Seen {
  id: string;
  phase: string;
  reason?: string;
  host: string;
  restarts: number;
}
const replicas = async (service: string): Promise<Seen[]> => (await world.replicas(service)) as unknown as Seen[];

/** A service that runs on hosts only if the operator has signed it. */
async function up(name: string, ...more: string[]): Promise<void> {
  const file = join(world.state, `${name}.yaml`);
  writeFileSync(file, engineYaml(name, { replicas: hosts.length, flags: "--itl 20ms --ttft 5ms" }));
  await cli("up", file, "-y", "--async", ...more);
}

beforeAll(async () => {
  if (lacking !== undefined) return;
  world = await World.start();
  operatorKey = join(world.state, "operator.key");
  await cli("operator", "keygen", operatorKey);
  for (const { name, by } of hosts) {
    const { port, release } = await claimPort();
    const gate = await Proxy.start(port);
    gates.push(gate);
    const config = ["trust: signed-specs", `operator_keys: [${JSON.stringify(`${operatorKey}.pub`)}]`, `transport: {direct: {listen: "127.0.0.1:${port}", url: "http://127.0.0.1:${gate.port}"}}`];
    const agent = await Agent.join(world, name, { within: ["env", `LD_PRELOAD=${library}`, `FAKETIME=${by}`], config });
    await release();
    agents.push(await agent.run());
  }
  // the world's own host, whose clock is right, takes nothing
  const { body } = await world.control("GET", "/v1/status");
  const own = (body["hosts"] as { id: string }[]).find(({ id }) => agents.every((agent) => agent.id !== id));
  await cli("hosts", "drain", own?.id ?? "");
});
afterAll(async () => {
  await Promise.all(agents.map((agent) => agent.stop()));
  await Promise.all(gates.map((gate) => gate.stop()));
  await world?.stop();
});

/** What went into each gate, over connections that are open. */
const asked = (): number[] => gates.map(({ open }) => open.reduce((sum, { upBytes }) => sum + upBytes, 0));

/** A stream's end, and through which of the hosts' gates it came, by index; -1: through none. */
async function streamed(): Promise<{ status: number; isDone: boolean; gate: number }> {
  const before = asked();
  const response = await world.chat("clock", { stream: true, max_tokens: 10 });
  const gate = asked().findIndex((bytes, i) => bytes > (before[i] ?? 0));
  return { status: response.status, isDone: (await response.text()).includes("data: [DONE]"), gate };
}

const promise = "row 16: agents whose clocks are a day ahead and a day behind, by libfaketime";

function agentsADayOff(): void {
  test("they enrol, connect, and run what is signed, and nothing else", async () => {
    for (const [i, { byMs }] of hosts.entries()) {
      // the clock that the process itself sees
      const said = /^(\d{4}-\S+Z) info agent starts/m.exec(agents[i]?.log ?? "")?.[1] ?? "";
      expect(Math.abs(Date.parse(said) - Date.now() - byMs)).toBeLessThan(10 * 60_000);
    }
    await up("clock", "--sign-key", operatorKey);
    await world.ready("clock", hosts.length);
    expect(new Set((await replicas("clock")).map(({ host }) => host))).toEqual(new Set(agents.map(({ id }) => id)));
    await up("unsigned");
    const refused = await until("the refusal", 20_000, async () => (await replicas("unsigned")).find(({ phase }) => phase === "failed"));
    expect(refused.reason).toMatch(/signed/);
    await cli("down", "unsigned", "-y");
  });

  test("their gates take the passes that the edge signs by its own clock, and without gates the relays carry", async () => {
    const through = new Set<number>();
    await until("a stream through each gate", 30_000, async () => {
      const one = await streamed();
      expect(one).toMatchObject({ status: 200, isDone: true });
      through.add(one.gate);
      return through.has(0) && through.has(1);
    });
    for (const agent of agents) expect(agent.log).not.toMatch(/refused/);
    for (const gate of gates) {
      gate.refuses = true;
      gate.open.forEach((one) => one.cut());
    }
    for (let i = 0; i < 10; i++) expect(await streamed()).toEqual({ status: 200, isDone: true, gate: -1 });
    for (const gate of gates) gate.refuses = false;
  });

  test("their leases hold: for two of them nothing changes, and every request is answered", async () => {
    const seen = async (): Promise<unknown> => [await Promise.all(agents.map(async (agent) => (await agent.seen())?.state)), (await replicas("clock")).map(({ id, phase, restarts }) => [id, phase, restarts])];
    const before = await seen();
    const since = Date.now();
    await until("two leases", 3 * linkTimes.leaseMs, async () => {
      expect(await seen()).toEqual(before);
      const { status } = await world.chat("clock", { max_tokens: 1 });
      expect(status).toBe(200);
      return Date.now() - since > 2 * linkTimes.leaseMs;
    });
    expect(before).toEqual([["up", "up"], expect.arrayContaining([[expect.any(String), "ready", 0]]) as unknown]);
  });

  test("one that is killed comes back, and proves itself again", async () => {
    const [ahead] = agents;
    await ahead?.kill();
    await until("its loss", 20_000, async () => (await ahead?.seen())?.state !== "up");
    await ahead?.run();
    await world.ready("clock", hosts.length, 60_000);
    expect(readFileSync(join(ahead?.state ?? "", "log"), "utf8")).toContain("link is up");
  });
}

if (lacking === undefined) describe(promise, agentsADayOff);
else test.skipIf(true)(`${promise}: ${lacking}`, () => undefined);
