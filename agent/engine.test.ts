import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { startEngine } from "../test/engine/server.ts";
import { settings, type Settings } from "../test/engine/settings.ts";
import { readEngine, readLoads, type Runs } from "./engine.ts";
import type { Log } from "./log.ts";

async function engine(given: Partial<Settings> = {}): Promise<number> {
  const running = await startEngine(settings({ model: "m", ...given }));
  onTestFinished(() => running.stop());
  return Number(new URL(running.url).port);
}

/** Something that listens and is no engine. */
async function server(status: number, text: string): Promise<number> {
  const one = createServer((_request, response) => void response.writeHead(status).end(text));
  await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void one.close());
  return (one.address() as AddressInfo).port;
}

/** Something that answers these paths, and no others. */
async function serverOf(answers: Readonly<Record<string, readonly [status: number, text: string]>>): Promise<number> {
  const one = createServer(({ url = "" }, response) => {
    const [status, text] = answers[url] ?? [404, "404 page not found"];
    response.writeHead(status).end(text);
  });
  await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void one.close());
  return (one.address() as AddressInfo).port;
}

/** Rounds by hand; each is over when what it told is there, or was said to the log. */
function world(runs: () => Runs[]) {
  const rounds: (() => void)[] = [];
  const said: string[] = [];
  const log = { warn: (message: string, fields: object) => void said.push(`${message} ${JSON.stringify(fields)}`) } as unknown as Log;
  const loads = readLoads({ ready: runs, log, timers: { after: (_ms, action) => (rounds.push(action), () => {}) } });
  onTestFinished(() => loads.close());
  return { loads, said, round: () => rounds.splice(0).forEach((action) => action()) };
}

test("what an engine tells is read, with what it is and its version, and forgotten when another runs in its place", async () => {
  let runs = [{ id: "a", port: await engine(), pid: 1 }];
  const { loads, round, said } = world(() => runs);
  expect(loads.of("a")).toEqual({});
  round();
  await expect.poll(() => loads.of("a")).toEqual({ engine: "vllm", engineVersion: "0.32.0", load: { running: 0, queueDepth: 0, kvUsage: 0, prefixTokensQueried: 0, prefixTokensHit: 0 } });
  runs = [{ id: "a", port: await engine({ metricsAs: "none" }), pid: 2 }];
  round();
  expect(loads.of("a")).toEqual({});
  await expect.poll(() => loads.of("a")).toEqual({ engine: "ollama" });
  runs = [];
  round();
  expect(loads.of("a")).toEqual({});
  expect(said).toEqual([]);
});

test("what has just become ready is read without waiting for its round, once, and its engine is told of", async () => {
  let known = 0;
  const port = await engine();
  const loads = readLoads({ ready: () => [{ id: "a", port }], log: {} as Log, timers: { after: () => () => {} }, onKnown: () => known++ });
  onTestFinished(() => loads.close());
  loads.look();
  loads.look();
  await expect.poll(() => known).toBe(1);
  expect(loads.of("a")).toMatchObject({ engine: "vllm", load: { running: 0 } });
});

/** Something whose metrics break off so many times before they are told. */
async function breaking(times: number): Promise<{ port: number; asked: () => number }> {
  let asked = 0;
  const one = createServer(({ url }, response) => {
    if (url !== "/metrics") response.writeHead(404).end();
    else if (++asked <= times) response.destroy();
    else response.end("vllm:num_requests_running 1\nvllm:num_requests_waiting 0\n");
  });
  await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void one.close());
  return { port: (one.address() as AddressInfo).port, asked: () => asked };
}

test("what did not answer at first is read again in the next round", async () => {
  const { port } = await breaking(1);
  const { loads, round } = world(() => [{ id: "a", port }]);
  let rounds = 0;
  await expect.poll(() => (rounds++, round(), loads.of("a").engine), { interval: 200 }).toBe("vllm");
  // what is no engine has fifteen rounds without a question
  expect(rounds).toBeLessThan(10);
});

test("what never answers is left alone for a while", async () => {
  const { port, asked } = await breaking(Number.POSITIVE_INFINITY);
  const { round } = world(() => [{ id: "a", port }]);
  const rounds = 15;
  for (let i = 0; i < rounds; i++) {
    round();
    // takes as long as a round does
    await readEngine(port, undefined, 2_000);
  }
  expect(asked() - rounds).toBeLessThanOrEqual(6);
});

test("what lists no models is not asked for its front page, which may be anybody's", async () => {
  const asked: string[] = [];
  const one = createServer(({ url = "" }, response) => (asked.push(url), void response.writeHead(404).end()));
  await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void one.close());
  await readEngine((one.address() as AddressInfo).port, undefined, 2_000);
  expect(asked).toEqual(["/metrics", "/v1/models"]);
});

test("a renamed metric makes the load unknown, and is said once however often it is read", async () => {
  const runs = [{ id: "a", port: await engine({ metricsAs: "renamed" }) }];
  const { loads, round, said } = world(() => runs);
  for (let i = 0; i < 40; i++) {
    round();
    await expect.poll(() => loads.of("a").loadProblem).toContain("vLLM's metrics lack vllm:num_requests_running");
  }
  expect(loads.of("a").load).toBeUndefined();
  expect(said).toHaveLength(1);
  expect(said[0]).toContain("a replica's load is unknown");
});

test("an engine that was read and then falls silent has no load, and says why", async () => {
  const running = await startEngine(settings({ model: "m" }));
  const runs = [{ id: "a", port: Number(new URL(running.url).port) }];
  const { loads, round } = world(() => runs);
  round();
  await expect.poll(() => loads.of("a").load?.running).toBe(0);
  await running.stop();
  round();
  await expect.poll(() => loads.of("a")).toEqual({ engine: "vllm", engineVersion: "0.32.0", loadProblem: "vLLM tells no load: nothing listens on its port yet" });
});

const llamaModels = [200, '{"object":"list","data":[{"id":"tiny","aliases":["tiny"],"tags":[],"object":"model","created":1795356246,"owned_by":"llamacpp"}]}'] as const;

test.each<[string, () => Promise<number>, { engine: string | undefined; problem?: string; load?: object }]>([
  ["with its metrics off by their absence", async () => engine({ metricsAs: "none" }), { engine: "ollama" }],
  ["with its metrics at a path of their own", async () => engine({ metricsAs: "trtllm" }), { engine: "trtllm", load: { running: 0, queueDepth: 0, kvUsage: 0 } }],
  ["that is no engine", async () => server(200, "<html>hello</html>"), { engine: undefined }],
  ["that refuses everything", async () => server(401, "{}"), { engine: undefined }],
  ["that lists models of llama.cpp and has no metrics", async () => server(200, '{"data":[{"id":"m","owned_by":"llamacpp"}]}'), { engine: "llamacpp", problem: "llama.cpp tells no load: its /metrics has no metric of its own; --metrics turns them on" }],
  // what follows is what llama.cpp 0.5.0-dev and Ollama 0.32.15 answered
  ["that is llama.cpp without --metrics", async () => serverOf({ "/metrics": [501, '{"error":{"code":501,"message":"This server does not support metrics endpoint. Start it with `--metrics`","type":"not_supported_error"}}'], "/v1/models": llamaModels }), { engine: "llamacpp", problem: "llama.cpp tells no load: its /metrics answered 501; --metrics turns them on" }],
  ["that is llama.cpp with --metrics, for several models", async () => serverOf({ "/metrics": [400, '{"error":{"code":400,"message":"model name is missing from the request","type":"invalid_request_error"}}'], "/v1/models": llamaModels }), { engine: "llamacpp", problem: "llama.cpp tells no load: its /metrics answered 400" }],
  ["that is Ollama with a model of its library", async () => serverOf({ "/v1/models": [200, '{"object":"list","data":[{"id":"tiny:latest","object":"model","created":1795356710,"owned_by":"library"}]}'] }), { engine: "ollama" }],
  ["that is Ollama with a model of somebody's", async () => serverOf({ "/v1/models": [200, '{"object":"list","data":[{"id":"somebody/tiny:latest","object":"model","created":1795356710,"owned_by":"somebody"}]}'], "/": [200, "Ollama is running"] }), { engine: "ollama" }],
  ["that is Ollama without a model", async () => serverOf({ "/v1/models": [200, '{"object":"list","data":null}'], "/": [200, "Ollama is running"] }), { engine: "ollama" }],
])("readEngine() of something %s", async (_, start, expected) => {
  const { dialect, reading } = await readEngine(await start(), undefined, 2_000);
  expect({ engine: dialect?.engine, ...reading }).toEqual(expected);
});
