import { appendFileSync, closeSync, openSync } from "node:fs";
import { copyFile, open, readdir, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { plainText } from "../log.ts";

/** A log is cut at this size; the part before is kept once beside it. */
const logBytesMax = 32 * 1024 * 1024;
/** How much of a log is read to find its last lines. */
const tailBytesMax = 1024 * 1024;
/** Log files that are kept when their replicas are gone. */
const filesMax = 200;
const lineMax = 200;

export interface LogFiles {
  /** A descriptor to which a child writes by itself, independent of the agent. The caller closes it. */
  open(id: string): number;
  /** A line of ours. */
  note(id: string, text: string): void;
  tail(id: string, lines: number): Promise<string>;
  follow(id: string, lines: number, isOver: () => boolean, signal: AbortSignal): AsyncGenerator<Uint8Array>;
  lastLine(id: string): Promise<string | undefined>;
  trim(id: string): Promise<void>;
  /** Removes the oldest files beyond the number that is kept. */
  prune(alive: ReadonlySet<string>): Promise<void>;
}

/** The replicas' logs: one file each, which the children append to. */
export function logFiles(folder: string, { bytesMax = logBytesMax, everyMs = 200 } = {}): LogFiles {
  const path = (id: string): string => join(folder, `${id}.log`);
  const size = async (id: string): Promise<number> => (await stat(path(id)).catch(() => undefined))?.size ?? 0;

  const files: LogFiles = {
    open: (id) => openSync(path(id), "a", 0o600),
    note(id, text) {
      const fd = files.open(id);
      appendFileSync(fd, `[fairlead] ${new Date().toISOString()} ${plainText(text)}\n`);
      closeSync(fd);
    },
    async tail(id, lines) {
      return lastLines(await end(path(id)), lines);
    },
    async *follow(id, lines, isOver, signal) {
      let at = await size(id);
      const begin = lastLines(await end(path(id), at), lines);
      if (begin !== "") yield Buffer.from(begin);
      while (!signal.aborted) {
        // asked before reading: what was written before the end is read after it
        const over = isOver();
        const now = await size(id);
        if (now < at) at = 0; // cut in the meantime
        while (at < now && !signal.aborted) {
          const part = await read(path(id), at, Math.min(now - at, 64 * 1024));
          if (part.byteLength === 0) break;
          at += part.byteLength;
          yield part;
        }
        if (over) return;
        await pause(everyMs, signal);
      }
    },
    async lastLine(id) {
      const lines = (await end(path(id), undefined, 16 * 1024)).toString("utf8").split("\n");
      const line = lines.map((text) => plainText(text).trim()).findLast((text) => text !== "" && !text.startsWith("[fairlead]"));
      return line === undefined || line.length <= lineMax ? line : `${line.slice(0, lineMax - 1)}…`;
    },
    async trim(id) {
      if ((await size(id)) <= bytesMax) return;
      // copied and cut, not renamed: the children hold the file open and append to it
      await copyFile(path(id), `${path(id)}.1`);
      await truncate(path(id), 0);
    },
    async prune(alive) {
      const names = (await readdir(folder)).filter((name) => name.endsWith(".log") && !alive.has(name.slice(0, -4)));
      const aged = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(folder, name)).catch(() => undefined))?.mtimeMs ?? 0 })));
      for (const { name } of aged.sort((a, b) => b.at - a.at).slice(filesMax)) {
        await rm(join(folder, name), { force: true });
        await rm(join(folder, `${name}.1`), { force: true });
      }
    },
  };
  return files;
}

/** The last bytes of a file; empty when there is none. */
async function end(path: string, upTo?: number, bytes = tailBytesMax): Promise<Buffer> {
  const size = upTo ?? (await stat(path).catch(() => undefined))?.size ?? 0;
  const from = Math.max(0, size - bytes);
  return read(path, from, size - from);
}

async function read(path: string, from: number, length: number): Promise<Buffer> {
  const file = await open(path, "r").catch(() => undefined);
  if (!file) return Buffer.alloc(0);
  try {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await file.read(buffer, 0, length, from);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function lastLines(bytes: Buffer, lines: number): string {
  if (lines <= 0) return "";
  let at = bytes.length;
  // a line break at the very end closes the last line
  if (bytes[at - 1] === 0x0a) at--;
  for (let left = lines; left > 0 && at >= 0; left--) at = at === 0 ? -1 : bytes.lastIndexOf(0x0a, at - 1);
  return bytes.subarray(at + 1).toString("utf8");
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
