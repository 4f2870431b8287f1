/** What is wrong with a service file, and where. */
export interface Problem {
  /** From 1. */
  line: number;
  /** From 1. */
  column: number;
  /** The field as people write it: `service.replica_policy.min_replicas`, `service.providers[0].endpoint`; empty for the whole file. */
  field: string;
  message: string;
  level: "error" | "warning";
}

export type Path = readonly (string | number)[];

/** How the checks say what they found: a level, the field's path in the file, words. */
export type Report = (level: Problem["level"], path: Path, message: string) => void;

/** @example fieldName(["service", "providers", 0, "name"]) // "service.providers[0].name" */
export function fieldName(path: Path): string {
  return path.reduce<string>((text, part) => (typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`), "");
}

/** @example formatProblem({line: 3, column: 1, …}, "a.yaml") // "a.yaml:3:1: error: service.replica: is not a field…" */
export function formatProblem({ line, column, field, message, level }: Problem, file: string): string {
  return `${file}:${line}:${column}: ${level}: ${field === "" ? "" : `${field}: `}${message}`;
}

/** The known name nearest to a mistyped one: one that it begins or that begins it, else at most a third of its letters wrong, and two at least, else one that it is a part of or that is a part of it. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const begun = known.find((candidate) => name.length >= 4 && candidate.length >= 4 && (candidate.startsWith(name) || name.startsWith(candidate)));
  if (begun !== undefined) return begun;
  const limit = Math.max(2, Math.floor(name.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best ?? known.find((candidate) => name.length >= 4 && candidate.length >= 4 && (candidate.includes(name) || name.includes(candidate)));
}

/** Levenshtein's distance: letters inserted, removed or replaced. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
