import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { expectedAnswer } from "./text.ts";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
const started: ChildProcess[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

function start(args: string[], env: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  started.push(child);
  return child;
}

async function line(child: ChildProcess, stream: "stdout" | "stderr" = "stdout"): Promise<string> {
  const from = child[stream];
  if (from === null) throw new Error(`No ${stream}`);
  for await (const first of createInterface({ input: from })) return first;
  return "";
}

async function listening(args: string[], env: Record<string, string> = {}): Promise<{ child: ChildProcess; url: string; gone: Promise<unknown[]> }> {
  const child = start(["--model", "demo", "--ttft", "0ms", "--itl", "1ms", ...args], env);
  const gone = once(child, "exit");
  const url = (await line(child)).replace("engine listening on ", "");
  return { child, url, gone };
}

async function chat(url: string, more: object = {}): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ messages: [{ role: "user", content: "hello" }], stream: true, return_token_ids: true, ...more }) });
}

/** The token ids that arrive before the stream ends or breaks. */
async function idsUntilEnd(response: Response): Promise<number[]> {
  let text = "";
  const decoder = new TextDecoder();
  try {
    for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true });
  } catch {
    // A stream that breaks is what some tests are about.
  }
  return [...text.matchAll(/"token_ids":\[(\d+)\]/g)].map((match) => Number(match[1]));
}

test("prints one line with its URL, and SIGTERM ends it", async () => {
  const { child, url, gone } = await listening(["--port", "0"]);
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  expect((await fetch(`${url}/health`)).status).toBe(200);
  child.kill("SIGTERM");
  expect(await gone).toEqual([0, null]);
});

test("the port comes from PORT when there is no --port", async () => {
  const { url } = await listening([], { PORT: "0" });
  expect((await fetch(`${url}/health`)).status).toBe(200);
});

test.each([0, 7])("die@%i kills the process after that many tokens, and another goes on from them", async (tokens) => {
  const { url, gone } = await listening(["--port", "0", "--fail", `die@${tokens}`]);
  const ids = await chat(url).then(idsUntilEnd, () => []);
  expect(await gone).toEqual([null, "SIGKILL"]);
  expect(ids).toHaveLength(tokens);
  const expected = expectedAnswer({ messages: [{ role: "user", content: "hello" }] }, { model: "demo" }).choices[0];
  const other = await listening(["--port", "0"]);
  const rest = await fetch(`${other.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: [...(expected?.promptTokenIds ?? []), ...ids], max_tokens: 1000, stream: true, return_token_ids: true }),
  });
  expect([...ids, ...(await idsUntilEnd(rest))]).toEqual(expected?.tokenIds);
});

test("--ignore-sigterm goes on serving", async () => {
  const { child, url } = await listening(["--port", "0", "--ignore-sigterm"]);
  const ignored = line(child);
  child.kill("SIGTERM");
  expect(await ignored).toBe("SIGTERM ignored");
  expect((await fetch(`${url}/health`)).status).toBe(200);
});

test("SIGTERM cuts what is in flight, unless --shutdown-timeout lets it end", async () => {
  for (const [timeout, whole] of [["0s", false], ["20s", true]] as const) {
    const { child, url, gone } = await listening(["--port", "0", "--itl", "4ms", "--shutdown-timeout", timeout]);
    const ids = chat(url).then(idsUntilEnd);
    await fetch(`${url}/_sim/stats?until=tokens:2`);
    child.kill("SIGTERM");
    const expected = expectedAnswer({ messages: [{ role: "user", content: "hello" }] }, { model: "demo" }).choices[0]?.tokenIds;
    expect((await ids).length === expected?.length).toBe(whole);
    expect(await gone).toEqual([0, null]);
  }
});

test.each([
  [[], "Cannot start: --model is missing"],
  [["--model", "m", "--slots", "none"], 'Cannot read --slots "none": give a whole number from 1'],
  [["--model", "m", "--ttft", "soon"], 'Cannot read duration "soon": write 250ms, 3s, 2m or 1h'],
])("refuses %j", async (args, message) => {
  const child = start(args);
  const gone = once(child, "exit");
  expect(await line(child, "stderr")).toBe(message);
  expect(await gone).toEqual([2, null]);
});
