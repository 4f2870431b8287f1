import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newKey } from "../../schema/key.ts";
import { exposition, type Sample } from "../exposition.ts";
import { engineYaml, until, World } from "./world.ts";

let world: World;

/** Planted where a secret or a prompt comes in; none may come out of anything that is told of the service. */
const planted = {
  secret: "canary-Secret/1 with=signs",
  prompt: "canary-prompt-7f3a",
  history: "canary-history-19bb",
  session: "canary-session-55d1",
  model: "canary-model-c0de",
  key: newKey("fl").key,
  password: "canary-password-8e",
};
const hits = (text: string): string[] =>
  Object.entries(planted).flatMap(([name, value]) => [value, encodeURIComponent(value), Buffer.from(value).toString("base64")].filter((form) => text.includes(form)).map(() => name));

const yaml = engineYaml("canary", { more: "secrets: {TOKEN: }" }).replace("run: exec", `run: |
  echo "the token is $TOKEN, $(printf %s "$TOKEN" | base64 -w0)"
  printf 'split by \\033[1m%s\\033[0m\\n' "$TOKEN"
  echo 'pulled from https://bob:${planted.password}@registry.example with Authorization: Bearer ${planted.key}'
  echo "Received request cmpl-1: prompt: '${planted.prompt}', params: SamplingParams(n=1)"
  echo '{"messages": [{"role": "user", "content": "${planted.prompt}"}]}'
  exec`);
const crashing = `name: crashing\nservice: {readiness_probe: /, replicas: 1}\nsecrets: {TOKEN: }\nrun: |\n  echo "fatal - the token $TOKEN is wrong"\n  exit 1 # never listens on $PORT\n`;

beforeAll(async () => {
  world = await World.start();
  for (const [name, text] of [["canary", yaml], ["crashing", crashing]] as const) {
    const { status, body } = await world.control("PUT", `/v1/services/${name}`, { yaml: text, secrets: { TOKEN: planted.secret } });
    expect([status, body]).toEqual([201, expect.anything()]);
  }
  await world.ready("canary", 1);
});
afterAll(() => world?.stop());

const samples = async (): Promise<Sample[]> => exposition(await (await fetch(world.up.metrics)).text());
const valueOf = (all: readonly Sample[], name: string, labels: Record<string, string>): number =>
  all.filter((sample) => sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value)).reduce((sum, { value }) => sum + value, 0);

describe("what is told of a service", () => {
  test("is counted, shown and logged, and holds no secret and no prompt", async () => {
    const messages = [{ role: "assistant", content: planted.history }, { role: "user", content: planted.prompt }];
    const headers = { "x-session-id": planted.session };
    const whole = await world.chat("canary", { messages, max_tokens: 8 }, { headers });
    expect(whole.status).toBe(200);
    const { usage } = (await whole.json()) as { usage: { prompt_tokens: number; completion_tokens: number } };
    const streamed = await world.chat("canary", { messages, max_tokens: 8, stream: true }, { headers });
    expect(await streamed.text()).toContain("[DONE]");
    expect((await world.chat(planted.model)).status).toBe(404);
    expect((await fetch(`${world.up.endpoint}/chat/completions`, { method: "POST", headers: { authorization: `Bearer ${planted.key}` }, body: JSON.stringify({ model: "canary", messages }) })).status).toBe(401);

    const ours = { service: "canary", upstream: "replicas" };
    const all = await until("the counts of both answers", 40_000, async () => {
      const now = await samples();
      return valueOf(now, "fairlead_request_count_total", { ...ours, status: "2xx" }) === 2 && valueOf(now, "fairlead_request_count_total", { status: "4xx" }) === 2 && now;
    });
    expect(valueOf(all, "fairlead_ttft_seconds_count", ours)).toBe(1);
    expect(valueOf(all, "fairlead_request_latency_seconds_count", ours)).toBe(2);
    expect(valueOf(all, "fairlead_upstream_attempts_total", { ...ours, status: "answer" })).toBe(2);
    // a replica whose engine tells token ids tells the usage of streams too; the engine of this one is asked for it once its load was read
    expect(valueOf(all, "fairlead_tokens_total", { ...ours, status: "output" })).toBeGreaterThanOrEqual(usage.completion_tokens);
    expect(valueOf(all, "fairlead_tokens_total", { ...ours, status: "input" }) % usage.prompt_tokens).toBe(0);
    expect(valueOf(all, "fairlead_arrivals_total", { service: "canary" })).toBe(2);
    expect(valueOf(all, "fairlead_autoscaler_decisions_total", { service: "canary", action: "place" })).toBe(1);

    const reason = await until("the reason of a replica that exits", 40_000, async () => (await world.replicas("crashing")).find((one) => one.reason?.includes("fatal"))?.reason);
    expect(reason).toContain("the token *** is wrong");
    const [host] = (await world.control("GET", "/v1/status")).body["hosts"] as { id: string }[];
    const requestId = whole.headers.get("x-request-id") ?? "";
    const told: Record<string, string> = { metrics: await (await fetch(world.up.metrics)).text() };
    for (const args of [["status", "-v"], ["status", "--json"], ["hosts", "list", "--json"], ["explain", requestId, "--json"], ["hosts", "logs", host?.id ?? "", "--no-follow"], ...[[], ["--raw"], ["--controller"], ["--load-balancer"]].map((more) => ["logs", "canary", "--no-follow", ...more]), ["logs", "crashing", "--no-follow"]]) {
      const { code, stdout, stderr } = await world.cli(args);
      expect([args, code, stderr]).toEqual([args, 0, ""]);
      told[args.join(" ")] = stdout;
    }
    expect(Object.entries(told).flatMap(([where, text]) => hits(text).map((name) => `${name} in ${where}`))).toEqual([]);

    const log = told["logs canary --no-follow"] ?? "";
    expect(log).toContain("the token is ***, ***\nsplit by ***\n");
    expect(log).toContain("prompt: ***, params: SamplingParams(n=1)");
    expect(told["logs canary --no-follow --raw"]).not.toContain("split by \u001b");
    expect(told["logs canary --no-follow --load-balancer"]).toMatch(new RegExp(`^\\S+Z ${requestId} status=200 upstream=canary\\.local\\.\\d+ ms=\\d+ region=local$`, "m"));
    expect(told["logs canary --no-follow --controller"]).toMatch(/hub +\| \S+Z hub place: canary\.local\.1 of version 1 is placed on .*\| \S+Z info replica is ready replica=canary\.local\.1/s);
    expect(told[`hosts logs ${host?.id ?? ""} --no-follow`]).toContain("link is up");
    expect(told["status -v"]).toMatch(/^canary +replicas +\d+\.\d\d +0\.0% +\d+ms +\d+ms$/m);
    expect(told["hosts list --json"]).toMatch(/"agentVersion": "\d.*"protocol": \d.*"readings": \{.*"diskFreeBytes": \d+/s);
  });
});
