import type { Path } from "./problem.ts";

/** A name that a shell would substitute: `$NAME` or `${NAME}`; `${NAME:-x}` is the shell's own and is left alone. */
const reference = /\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))/g;

export const namePattern = /^[A-Za-z_]\w*$/;

/** The names that a text refers to. */
export function namesIn(text: string): string[] {
  return [...text.matchAll(reference)].map((match) => match[1] ?? match[2] ?? "");
}

/** A text with the names that `lookup` knows replaced, the others left as they stand. */
export function substitute(text: string, lookup: (name: string) => string | undefined): string {
  return text.replace(reference, (whole, braced?: string, bare?: string) => lookup(braced ?? bare ?? "") ?? whole);
}

/** A tree with every text in it passed through `change`; keys stay. */
export function mapTexts(value: unknown, change: (text: string, path: Path) => string, path: Path = []): unknown {
  if (typeof value === "string") return change(value, path);
  if (Array.isArray(value)) return value.map((item, i) => mapTexts(item, change, [...path, i]));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapTexts(item, change, [...path, key])]));
}

/** Whether a script listens where it is told to: on `$PORT` or `$FAIRLEAD_PORT`, however written. */
export function mentionsPort(script: string): boolean {
  return /\$(?:\{(?:FAIRLEAD_)?PORT\b|(?:FAIRLEAD_)?PORT\b)/.test(script);
}

/** Names and values as a service file declares them (null: to be supplied), and as whoever runs it supplies them. */
export interface Sources {
  declared: { envs: Readonly<Record<string, string | null>>; secrets: Readonly<Record<string, string | null>> };
  /** `--env` and `--secret`: they override and add. */
  envs: Readonly<Record<string, string>>;
  secrets: Readonly<Record<string, string>>;
  /** The environment of whoever runs `fairlead up`: for names that nothing else gives. */
  environment: Readonly<Record<string, string | undefined>>;
}

export interface Environment {
  envs: Record<string, string>;
  secrets: Record<string, string>;
  /** Declared without a value, and supplied by nobody. */
  missing: { kind: "envs" | "secrets"; name: string }[];
}

/** What a replica is given. What is declared or supplied as a secret anywhere stays a secret. */
export function resolveEnvironment({ declared, envs, secrets, environment }: Sources): Environment {
  const out: Environment = { envs: {}, secrets: {}, missing: [] };
  const names = new Set([...Object.keys(declared.envs), ...Object.keys(declared.secrets), ...Object.keys(envs), ...Object.keys(secrets)]);
  for (const name of names) {
    const kind = Object.hasOwn(declared.secrets, name) || Object.hasOwn(secrets, name) ? "secrets" : "envs";
    const value = [secrets, envs, declared.secrets, declared.envs, environment].map((source) => own(source, name)).find((found) => found != null);
    if (value == null) out.missing.push({ kind, name });
    else out[kind][name] = value;
  }
  return out;
}

/** A record's own value: a variable may be called `constructor`. */
export function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
