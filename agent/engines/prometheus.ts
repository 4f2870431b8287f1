/** One line of a Prometheus text (exposition format 0.0.4). */
export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** Samples by the name of their series. */
export type Metrics = ReadonlyMap<string, readonly Sample[]>;

/** `name`, perhaps `{labels}`, a value, perhaps a time. A label's value may hold any character, escaped quotes included. */
const line = /^([a-zA-Z_:][\w:]*)(\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+(\S+)/;
const label = /([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"/g;

/**
 * Reads a Prometheus text. Lines that are none are left out, for one of them must not hide the others; so are values that are no
 * count (NaN, Inf, negative), and the buckets of histograms: nobody here reads them, and they are most of an engine's lines.
 */
export function parseMetrics(text: string): Metrics {
  const metrics = new Map<string, Sample[]>();
  for (const one of text.split("\n")) {
    const match = one.startsWith("#") ? null : line.exec(one);
    if (match === null) continue;
    const [, name = "", labels, value] = match;
    const number = Number(value);
    if (!Number.isFinite(number) || number < 0 || name.endsWith("_bucket")) continue;
    const sample = { labels: labels === undefined ? {} : readLabels(labels), value: number };
    const samples = metrics.get(name);
    if (samples === undefined) metrics.set(name, [sample]);
    else samples.push(sample);
  }
  return metrics;
}

const escaped: Readonly<Record<string, string>> = { "\\n": "\n", "\\\\": "\\", '\\"': '"' };

function readLabels(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(label)].map(([, name = "", value = ""]) => [name, value.replace(/\\[n\\"]/g, (code) => escaped[code] ?? code)]));
}
