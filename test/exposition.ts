/** One sample of Prometheus's text format. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
  type: string;
}

const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const labelPair = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/y;

/**
 * Reads Prometheus's text format 0.0.4 more strictly than Prometheus does: every family has one HELP and one TYPE before its samples,
 * which stand together; counters end in `_total`; no series comes twice; labels are well-formed; histograms are whole, their buckets rise,
 * and the last one is their count.
 *
 * @throws Error naming the line
 */
export function exposition(text: string): Sample[] {
  const samples: Sample[] = [];
  const types = new Map<string, string>();
  const helps = new Set<string>();
  const series = new Set<string>();
  let family = "";
  const wrong = (line: string, why: string): never => {
    throw new Error(`${why}: ${line}`);
  };
  if (!text.endsWith("\n")) throw new Error("the text does not end with a line break");
  for (const line of text.split("\n")) {
    if (line === "") continue;
    if (line.startsWith("#")) {
      const [, kind, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? wrong(line, "a comment that is neither HELP nor TYPE");
      if (kind === "HELP") {
        if (helps.has(name)) wrong(line, "HELP twice");
        helps.add(name);
      } else {
        if (types.has(name)) wrong(line, "TYPE twice");
        if (!helps.has(name)) wrong(line, "TYPE without HELP");
        if (!["counter", "gauge", "histogram"].includes(rest)) wrong(line, "an unknown type");
        if (!metricName.test(name)) wrong(line, "no name of a metric");
        if ((rest === "counter") !== name.endsWith("_total")) wrong(line, "counters end in _total, and nothing else does");
        types.set(name, rest);
        family = name;
      }
      continue;
    }
    const [, name = "", , labelText = "", number = ""] = /^([^{ ]+)(\{(.*)\})? (\S+)$/.exec(line) ?? wrong(line, "no sample");
    const type = types.get(family) ?? wrong(line, "a sample without a TYPE");
    const suffix = name.slice(family.length);
    if (!name.startsWith(family) || !(type === "histogram" ? ["_bucket", "_sum", "_count"] : [""]).includes(suffix)) wrong(line, `a sample that is not of ${family}`);
    const labels: Record<string, string> = {};
    labelPair.lastIndex = 0;
    while (labelPair.lastIndex < labelText.length) {
      const [, label = "", value = ""] = labelPair.exec(labelText) ?? wrong(line, "malformed labels");
      if (label in labels) wrong(line, `label ${label} twice`);
      if (value === "") wrong(line, `label ${label} is empty`);
      labels[label] = value.replace(/\\([\\"n])/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
    }
    const value = /^[+-]?(\d+(\.\d+)?(e[+-]?\d+)?|Inf)$/.test(number) ? Number(number.replace("Inf", "Infinity")) : wrong(line, "a value that is no number");
    if (type !== "gauge" && value < 0) wrong(line, "a counter below 0");
    const key = `${name}${JSON.stringify(inOrder(labels))}`;
    if (series.has(key)) wrong(line, "a series twice");
    series.add(key);
    samples.push({ name, labels, value, type });
  }
  for (const [name, type] of types) if (type === "histogram") wholeHistograms(name, samples);
  return samples;
}

function inOrder(labels: Record<string, string>): [string, string][] {
  return Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function wholeHistograms(name: string, samples: readonly Sample[]): void {
  const groups = new Map<string, { le: number; value: number }[]>();
  const keyOf = (labels: Record<string, string>): string => JSON.stringify(inOrder(labels).filter(([label]) => label !== "le"));
  for (const { labels, value } of samples.filter((sample) => sample.name === `${name}_bucket`)) {
    const key = keyOf(labels);
    groups.set(key, [...(groups.get(key) ?? []), { le: Number((labels["le"] ?? "").replace("Inf", "Infinity")), value }]);
  }
  for (const [key, buckets] of groups) {
    for (const [i, { le, value }] of buckets.entries()) {
      const before = buckets[i - 1];
      if (before !== undefined && (le <= before.le || value < before.value)) throw new Error(`the buckets of ${name} do not rise: ${key}`);
    }
    const last = buckets.at(-1);
    const count = samples.find((sample) => sample.name === `${name}_count` && keyOf(sample.labels) === key);
    const sum = samples.find((sample) => sample.name === `${name}_sum` && keyOf(sample.labels) === key);
    if (last?.le !== Number.POSITIVE_INFINITY || count === undefined || sum === undefined || last.value !== count.value) throw new Error(`a histogram of ${name} is not whole: ${key}`);
  }
}
