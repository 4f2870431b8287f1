import { spawn } from "node:child_process";
import { appendFile, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { logFiles } from "./logs.ts";

const id = "chat.local.1";

async function folderOf(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-logs-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

describe("logFiles()", () => {
  test("cuts a log at its bound, keeps the part before, and shows lines over both", async () => {
    const folder = await folderOf();
    const logs = logFiles(folder, { bytesMax: 100 });
    const file = join(folder, `${id}.log`);
    await appendFile(file, Array.from({ length: 20 }, (_, i) => `line ${String(i).padStart(2, "0")}\n`).join(""));
    await logs.trim(id);
    expect((await stat(file)).size).toBe(0);
    expect((await stat(`${file}.1`)).size).toBe(100);
    await appendFile(file, "line 20\n");
    expect(await logs.tail(id, 3)).toBe("line 18\nline 19\nline 20\n");
    // an agent that comes after knows of the earlier part, too
    expect(await logFiles(folder).tail(id, 2)).toBe("line 19\nline 20\n");
    expect((await readdir(folder)).sort()).toEqual([`${id}.log`, `${id}.log.1`]);
  });

  test("follows a log over its cuts without a gap and without a repetition", async () => {
    const folder = await folderOf();
    const logs = logFiles(folder, { bytesMax: 1000, everyMs: 1 });
    const file = join(folder, `${id}.log`);
    let over = false;
    const parts = logs.follow(id, 1, () => over, new AbortController().signal);
    let wanted = "what was there\n";
    await appendFile(file, wanted);
    // where it begins is known with its first part: what is written before that may be older than it
    let text = Buffer.from((await parts.next()).value as Uint8Array).toString();
    const read = (async () => {
      for await (const part of parts) text += Buffer.from(part).toString();
      return text;
    })();
    for (let i = 0; i < 300; i++) {
      const line = `line ${i}\n`;
      wanted += line;
      await appendFile(file, line);
      if (i % 10 === 0) await logs.trim(id);
    }
    over = true;
    expect(await read).toBe(wanted);
  });

  test("holds its bound under a writer that never pauses, and what it shows is whole lines in their order", async () => {
    const folder = await folderOf();
    const bytesMax = 4 * 1024 * 1024;
    const logs = logFiles(folder, { bytesMax });
    const fd = logs.open(id);
    const writer = spawn("/bin/sh", ["-c", "i=0; while :; do i=$((i+1)); echo \"line $i of a writer that never pauses, long enough to fill a file soon\"; done"], { stdio: ["ignore", fd, fd] });
    onTestFinished(() => void writer.kill("SIGKILL"));
    const file = join(folder, `${id}.log`);
    const small = logFiles(folder, { bytesMax: 64 * 1024 });
    for (let cuts = 0; cuts < 5; ) {
      if ((await stat(file)).size > 64 * 1024) {
        await small.trim(id);
        cuts++;
      } else await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await stat(`${file}.1`)).size).toBeLessThanOrEqual(2 * 64 * 1024 + 1024 * 1024);
    writer.kill("SIGKILL");
    await new Promise((resolve) => writer.once("exit", resolve));
    const numbers = (await small.tail(id, 500)).trim().split("\n").slice(0, -1).map((line) => Number(/^line (\d+) of/.exec(line)?.[1]));
    expect(numbers.length).toBeGreaterThan(100);
    const steps = numbers.slice(1).map((number, i) => number - (numbers[i] ?? 0));
    expect(steps.every((step) => step >= 1)).toBe(true);
  });

  test("says what was written faster than it was read", async () => {
    const folder = await folderOf();
    const logs = logFiles(folder, { bytesMax: 10, everyMs: 1 });
    const file = join(folder, `${id}.log`);
    const stop = new AbortController();
    const followed = logs.follow(id, 0, () => true, stop.signal);
    await appendFile(file, "");
    // nothing is read before this: the position is the log's beginning
    const first = logs.follow(id, 0, () => false, stop.signal);
    const reading = first.next();
    await new Promise((resolve) => setImmediate(resolve));
    await appendFile(file, "a".repeat(30));
    expect(Buffer.from((await reading).value ?? []).toString()).toBe("a".repeat(30));
    await appendFile(file, "b".repeat(30));
    await logs.trim(id);
    await appendFile(file, "c".repeat(30));
    await logs.trim(id);
    expect(Buffer.from((await first.next()).value ?? []).toString()).toContain("bytes were written faster than they were read");
    await first.return(undefined);
    await followed.return(undefined);
  });

  test("keeps concealed values out of the last line, and a note without room is no error", async () => {
    const folder = await folderOf();
    const logs = logFiles(folder);
    await appendFile(join(folder, `${id}.log`), "cannot log in with hunter2-secret\n");
    logs.conceal(id, ["hunter2-secret", "in"]);
    logs.note(id, "ours");
    expect(await logs.lastLine(id)).toBe("cannot log in with ***");
    expect(() => logFiles(join(folder, "gone")).note(id, "x")).not.toThrow();
  });
});
