/** One log among several, by the name its lines are marked with. */
export interface NamedLog {
  name: string;
  stream: ReadableStream<Uint8Array>;
}

/**
 * Several logs as one stream of whole lines, each line marked with the log it is from; one log alone goes through as it is. A log
 * that breaks off says so in a line, the others go on.
 *
 * @param stop called when the reader goes away
 * @param inOrder wait for the ends of all, and give their lines by the times that they begin with
 */
export function mergeLogs(logs: readonly NamedLog[], stop: () => void, inOrder = false): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const width = Math.max(0, ...logs.map(({ name }) => name.length));
  const readers = logs.map(({ name, stream }) => ({ mark: logs.length > 1 ? `${name.padEnd(width)} | ` : "", name, reader: stream.getReader() }));
  return new ReadableStream<Uint8Array>({
    async start(controller) {
      const all: { at: string; line: string }[] = [];
      const write = (line: string): void => controller.enqueue(encoder.encode(line));
      await Promise.all(readers.map((log) => copyLines(log, inOrder ? dated(log.mark, all) : write).catch(() => undefined)));
      try {
        if (all.length > 0) write(all.toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)).map(({ line }) => line).join(""));
        controller.close();
      } catch {
        // the reader has gone
      }
    },
    async cancel() {
      stop();
      await Promise.allSettled(readers.map(({ reader }) => reader.cancel()));
    },
  });
}

/** Takes lines down with the time that each begins with; one without has that of the line before it. */
function dated(mark: string, all: { at: string; line: string }[]): (lines: string) => void {
  let at = "";
  return (lines) => {
    for (const line of lines.split(/(?<=\n)/)) {
      at = /^\d{4}-\d\d-\d\dT[\d:.]+Z/.exec(line.slice(mark.length))?.[0] ?? at;
      all.push({ at, line });
    }
  };
}

async function copyLines({ mark, name, reader }: { mark: string; name: string; reader: ReadableStreamDefaultReader<Uint8Array> }, write: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error: Error) => {
      if (rest !== "") write(`${mark}${rest}\n`);
      write(`${mark}fairlead: the log of ${name} broke off: ${error.message}\n`);
      return { done: true, value: undefined };
    });
    if (done) break;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (lines.length > 0) write(lines.map((line) => `${mark}${line}\n`).join(""));
  }
  if (rest !== "") write(`${mark}${rest}\n`);
}
