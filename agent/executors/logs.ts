import { appendFileSync, closeSync, fstatSync, ftruncateSync, openSync, renameSync } from "node:fs";
import { appendFile, open, readdir, rm, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { plainText } from "../log.ts";

/** A log is cut at this size; the part before is kept once beside it. */
const logBytesMax = 32 * 1024 * 1024;
/** How much of a log is read to find its last lines. */
const tailBytesMax = 1024 * 1024;
/** Log files that are kept when their replicas are gone. */
const filesMax = 200;
const lineMax = 200;
/** How much is moved at a time when a log is cut. */
const partBytes = 1024 * 1024;
/** Shorter values stand in many lines by chance. */
const secretCharsMin = 4;

export interface LogFiles {
  /** A descriptor to which a child writes by itself, independent of the agent. The caller closes it. */
  open(id: string): number;
  /** A line of ours. Never throws: a disk that is full must not end the agent. */
  note(id: string, text: string): void;
  /** What a replica wrote that has no descriptor here. Never throws: without room it is lost. */
  append(id: string, bytes: Uint8Array): Promise<void>;
  tail(id: string, lines: number): Promise<string>;
  follow(id: string, lines: number, isOver: () => boolean, signal: AbortSignal): AsyncGenerator<Uint8Array>;
  /** The last line that a replica wrote, without the values that `conceal` was given. */
  lastLine(id: string): Promise<string | undefined>;
  /** Values that must not leave the host by way of a log line in a reason. */
  conceal(id: string, values: readonly string[]): void;
  /** Cuts the log where it is longer than it may be. */
  trim(id: string, most?: number): Promise<void>;
  /** Removes the oldest files beyond the number that is kept. */
  prune(alive: ReadonlySet<string>): Promise<void>;
}

/** Where a log's two files stand in all that was ever written to it. */
interface Cut {
  /** Bytes before the present file's first. */
  base: number;
  /** The first and the last of these, the last not included, that the file beside it holds. */
  from: number;
  to: number;
}

/**
 * The replicas' logs: a file each, which the children append to, and beside it the part before the last cut.
 *
 * A cut copies and truncates, since the children hold the file open: what one writes between the last copy and the truncation,
 * microseconds, is lost.
 */
export function logFiles(folder: string, { bytesMax = logBytesMax, everyMs = 200 } = {}): LogFiles {
  const path = (id: string): string => join(folder, `${id}.log`);
  const beside = (id: string): string => `${path(id)}.1`;
  const size = async (file: string): Promise<number> => (await stat(file).catch(() => undefined))?.size ?? 0;
  const cuts = new Map<string, Cut>();
  const concealed = new Map<string, string[]>();
  const cutOf = async (id: string): Promise<Cut> => {
    const cut = cuts.get(id);
    if (cut) return cut;
    // one that an agent before this one has cut
    const before = await size(beside(id));
    const found = cuts.get(id) ?? { base: before, from: 0, to: before };
    cuts.set(id, found);
    return found;
  };

  /** What was written from a place on, `bytes` at most; where it was cut away, from the first place that is left. */
  async function readAt(id: string, from: number, bytes: number): Promise<{ part: Buffer; at: number }> {
    for (;;) {
      const cut = await cutOf(id);
      const at = from >= cut.base ? from : from >= cut.to ? cut.base : Math.max(from, cut.from);
      const part = at < cut.base ? await read(beside(id), at - cut.from, Math.min(bytes, cut.to - at)) : await read(path(id), at - cut.base, bytes);
      // cut while it was read: what was read may be of the file after
      if (cuts.get(id) === cut) return { part, at };
    }
  }

  const files: LogFiles = {
    open: (id) => openSync(path(id), "a", 0o600),
    note(id, text) {
      try {
        const fd = files.open(id);
        try {
          appendFileSync(fd, `[fairlead] ${new Date().toISOString()} ${plainText(text)}\n`);
        } finally {
          closeSync(fd);
        }
      } catch {
        // no room: the replica's phase and reason say the same
      }
    },
    append: (id, bytes) => appendFile(path(id), bytes, { mode: 0o600 }).catch(() => {}),
    async tail(id, lines) {
      return lastLines(await upTo(id, await total(id)), lines);
    },
    async *follow(id, lines, isOver, signal) {
      let at = await total(id);
      const begin = lastLines(await upTo(id, at), lines);
      if (begin !== "") yield Buffer.from(begin);
      while (!signal.aborted) {
        // asked before reading: what was written before the end is read after it
        const over = isOver();
        while (!signal.aborted) {
          const found = await readAt(id, at, 64 * 1024);
          if (found.part.byteLength === 0) break;
          if (found.at > at) yield Buffer.from(`\n[fairlead] ${found.at - at} bytes were written faster than they were read, and cut away\n`);
          at = found.at + found.part.byteLength;
          yield found.part;
        }
        if (over) return;
        await pause(everyMs, signal);
      }
    },
    async lastLine(id) {
      const file = await read(path(id), Math.max(0, (await size(path(id))) - 16 * 1024), 16 * 1024);
      const lines = file.toString("utf8").split("\n");
      let line = lines.map((text) => plainText(text).trim()).findLast((text) => text !== "" && !text.startsWith("[fairlead]"));
      for (const value of concealed.get(id) ?? []) line = line?.replaceAll(value, "***");
      return line === undefined || line.length <= lineMax ? line : `${line.slice(0, lineMax - 1)}…`;
    },
    conceal(id, values) {
      const telling = values.filter((value) => value.length >= secretCharsMin);
      if (telling.length > 0) concealed.set(id, telling);
      else concealed.delete(id);
    },
    async trim(id, most = bytesMax) {
      if ((await size(path(id))) <= most) return;
      const { base } = await cutOf(id);
      const log = await open(path(id), "r+");
      try {
        // the old copy goes first: where the disk is full, that is the room for the new one
        await rm(beside(id), { force: true });
        const copy = `${beside(id)}.new`;
        const { from, to } = await copyEnd(log, copy, most);
        if (to === from) await rm(copy, { force: true });
        // what the files are and what is known of them change in one turn: nobody reads between
        else renameSync(copy, beside(id));
        cuts.set(id, { base: base + fstatSync(log.fd).size, from: base + from, to: base + to });
        ftruncateSync(log.fd, 0);
      } finally {
        await log.close();
      }
    },
    async prune(alive) {
      const names = (await readdir(folder)).filter((name) => name.endsWith(".log") && !alive.has(name.slice(0, -4)));
      const aged = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(folder, name)).catch(() => undefined))?.mtimeMs ?? 0 })));
      for (const { name } of aged.sort((a, b) => b.at - a.at).slice(filesMax)) {
        await rm(join(folder, name), { force: true });
        await rm(join(folder, `${name}.1`), { force: true });
        cuts.delete(name.slice(0, -4));
      }
    },
  };
  return files;

  async function total(id: string): Promise<number> {
    const { base } = await cutOf(id);
    return base + (await size(path(id)));
  }

  /** The last bytes before a place, over both files. */
  async function upTo(id: string, end: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let at = Math.max(0, end - tailBytesMax); at < end; ) {
      const found = await readAt(id, at, end - at);
      if (found.part.byteLength === 0) break;
      parts.push(found.part);
      at = found.at + found.part.byteLength;
    }
    return Buffer.concat(parts);
  }
}

/**
 * Copies the end of a file that others append to, and goes on until nothing is left to copy or as much again was written.
 *
 * @returns the stretch that was copied, empty where there is no room for it
 */
async function copyEnd(source: FileHandle, to: string, bytesMax: number): Promise<{ from: number; to: number }> {
  const copy = await open(to, "w", 0o600).catch(() => undefined);
  if (!copy) return { from: 0, to: 0 };
  try {
    const buffer = Buffer.alloc(partBytes);
    const from = Math.max(0, (await source.stat()).size - bytesMax);
    let at = from;
    while (at - from < 2 * bytesMax) {
      const { bytesRead } = await source.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) break;
      await copy.writeFile(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
    return { from, to: at };
  } catch {
    return { from: 0, to: 0 };
  } finally {
    await copy.close().catch(() => {});
  }
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
