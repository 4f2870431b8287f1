import type { Answers } from "./answers.ts";
import type { MemoryReading } from "./memory-run.ts";
import { alonePerStreamKiB, heapPerStreamKiB, rssPerStreamKiB, type OpenSample } from "./open.ts";
import type { PacedSample } from "./paced.ts";
import { difference, medianAgainst, medianOf, ratio, type Rounds } from "./rounds.ts";
import { atOnce, type AtOnce, type Streams } from "./streams.ts";
import { figure, table } from "./table.ts";

/** Stands above each table. */
const legend = "latencies in ms: median of rounds (added to direct, ratio to direct)";

/** A latency with what it adds to the upstream directly and its ratio to that: `1.24 (+0.90, 3.6x)`. */
function latency(ms: number, added: number, times: number): string {
  const against = Number.isFinite(added) ? ` (${figure(added, 2, { sign: true })}, ${figure(times, 1, { unit: "x" })})` : "";
  return figure(ms, 2) + against;
}

/** The cell of a latency for a peer, against the peer "direct" of the same rounds. */
function latencyCell<T>(rounds: Rounds<T>, name: string, ms: (sample: T) => number): string {
  const [added, times] = name === "direct" ? [Number.NaN, Number.NaN] : [medianAgainst(rounds, name, "direct", ms, difference), medianAgainst(rounds, name, "direct", ms, ratio)];
  return latency(medianOf(rounds, name, ms), added, times);
}

export function answersReport(answers: Answers): string {
  const head = ["peer", "requests/s", "x portkey", "CPU us/request", "x workerd", "core", "p50", "p99", "errors"];
  return [...answers]
    .map(([connections, rounds]) => {
      const rows = [...rounds.keys()].map((name) => [
        name,
        figure(medianOf(rounds, name, (s) => s.requestsPerS), 0),
        figure(medianAgainst(rounds, name, "portkey", (s) => s.requestsPerS, ratio), 2),
        figure(medianOf(rounds, name, (s) => s.cpuUsPerRequest), 0),
        figure(medianAgainst(rounds, name, "workerd", (s) => s.cpuUsPerRequest, ratio), 2),
        figure(medianOf(rounds, name, (s) => s.proxyCore * 100), 0, { unit: "%" }),
        latencyCell(rounds, name, (s) => s.p50Ms),
        latencyCell(rounds, name, (s) => s.p99Ms),
        figure(medianOf(rounds, name, (s) => s.errors), 0),
      ]);
      return `Whole answers of 600 bytes, ${connections} connection${connections > 1 ? "s" : ""}, closed loop; ${legend}\n${table(head, rows)}`;
    })
    .join("\n\n");
}

export function pacedReport(rounds: Rounds<PacedSample>): string {
  const head = ["peer", "requests/s", "p50", "p99", "load late p99", "errors"];
  const cell = (name: string, ms: (sample: PacedSample, side: "proxy" | "direct") => number) =>
    latency(
      medianOf(rounds, name, (s) => ms(s, "proxy")),
      medianOf(rounds, name, (s) => ms(s, "proxy") - ms(s, "direct")),
      medianOf(rounds, name, (s) => ms(s, "proxy") / ms(s, "direct")),
    );
  const rows = [...rounds.keys()].map((name) => [
    name,
    figure(medianOf(rounds, name, (s) => s.ratePerS), 0),
    cell(name, (s, side) => s[side].p50Ms),
    cell(name, (s, side) => s[side].p99Ms),
    figure(medianOf(rounds, name, (s) => s.proxy.lateP99Ms), 2),
    figure(medianOf(rounds, name, (s) => s.proxy.errors), 0),
  ]);
  return `Whole answers paced at a tenth of each peer's own capacity, open loop; direct at the same rate; ${legend}\n${table(head, rows)}`;
}

export function streamsReport(streams: Streams): string {
  return [...streams].map(([gapMs, rounds]) => streamsTable({ atOnce, rounds }, gapMs)).join("\n\n");
}

export function streamsTable({ atOnce, rounds }: AtOnce, gapMs: number): string {
  const head = ["peer", "chunks/s", "CPU ms/1,000", "x workerd", "core", "TTFT p50", "TTFT p99", "per chunk", "gap p50 / p99", "broken"];
  const rows = [...rounds.keys()].map((name) => [
    name,
    figure(medianOf(rounds, name, (s) => (s.chunks / s.durationMs) * 1_000), 0),
    figure(medianOf(rounds, name, (s) => s.cpuMsPer1000Chunks), 1),
    figure(medianAgainst(rounds, name, "workerd", (s) => s.cpuMsPer1000Chunks, ratio), 2),
    figure(medianOf(rounds, name, (s) => s.proxyCore * 100), 0, { unit: "%" }),
    latencyCell(rounds, name, (s) => s.ttftP50Ms),
    latencyCell(rounds, name, (s) => s.ttftP99Ms),
    figure(medianOf(rounds, name, (s) => s.msPerChunk), 2),
    `${figure(medianOf(rounds, name, (s) => s.gapP50Ms), 2)} / ${figure(medianOf(rounds, name, (s) => s.gapP99Ms), 2)}`,
    figure(medianOf(rounds, name, (s) => s.errors), 0),
  ]);
  return `Streams of 100 chunks, ${atOnce} at once, ${gapMs > 0 ? `a chunk each ${gapMs} ms` : "unpaced"}; ${legend}\n${table(head, rows)}`;
}

export function openReport(rounds: Rounds<OpenSample>): string {
  const head = ["peer", "KB/stream", "x workerd", "of it heap", "uncollected", "none open", "all open", "ended", "broken"];
  const mib = (name: string, kiB: (sample: OpenSample) => number) => figure(medianOf(rounds, name, kiB) / 1_024, 1);
  const rows = [...rounds.keys()].map((name) => [
    name,
    figure(medianOf(rounds, name, rssPerStreamKiB), 0),
    figure(medianAgainst(rounds, name, "workerd", rssPerStreamKiB, ratio), 2),
    figure(medianOf(rounds, name, heapPerStreamKiB), 0),
    figure(medianOf(rounds, name, alonePerStreamKiB), 0),
    mib(name, (s) => s.none.rssKiB),
    mib(name, (s) => s.open.rssKiB),
    mib(name, (s) => s.ended.rssKiB),
    figure(medianOf(rounds, name, (s) => s.errors), 0),
  ]);
  const [sample] = [...rounds.values()].flat();
  return `Open streams, ${sample?.streams ?? 0} at once, in one round; resident memory in MiB, KB of 1,024 bytes\n${table(head, rows)}`;
}

export function memoryReport(name: string, readings: MemoryReading[]): string {
  const mib = (kiB: number | undefined) => figure((kiB ?? Number.NaN) / 1_024, 2);
  const rows = readings.map(({ requests, rssKiB, heapKiB }) => [requests.toLocaleString("en"), mib(rssKiB), mib(heapKiB)]);
  return `Memory of ${name}, 32 requests at once, in MiB\n${table(["requests", "resident", "heap after collection"], rows)}`;
}
