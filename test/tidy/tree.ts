import { readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join, posix } from "node:path";

export const root = join(import.meta.dirname, "../..");

/** Where no source of ours lives. */
const skipped = new Set(["node_modules", ".git", ".fairlead", ".wrangler", ".cache", "dist", "migrations"]);

/** Every file of the tree, by its path from the root. */
export function walk(folder = ""): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) return skipped.has(entry.name) ? [] : walk(path);
    return entry.isFile() ? [path] : [];
  });
}

export const read = (path: string): string => readFileSync(join(root, path), "utf8");

export const isExecutable = (path: string): boolean => (statSync(join(root, path)).mode & 0o111) === 0o111;

/** A source without its comments. Good enough for this tree: a `//` inside a text is taken for one only after white space. */
export function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "$1");
}

export interface Import {
  from: string;
  /** A path from the root for a file of ours, else the specifier as it is written. */
  to: string;
  /** Erased before anything runs. */
  typeOnly: boolean;
}

const patterns: { pattern: RegExp; typeOnly: (match: RegExpExecArray) => boolean }[] = [
  // import … from "x", export … from "x"
  { pattern: /^\s*(?:import|export)\s+(type\s)?[^"'`;()=]*?\bfrom\s+"([^"]+)"/gm, typeOnly: (match) => match[1] !== undefined },
  // import "x"
  { pattern: /^\s*import\s+()"([^"]+)"/gm, typeOnly: () => false },
  // await import("x") runs; import("x").Name is a type
  { pattern: /(await\s+)?\bimport\(\s*"([^"]+)"\s*\)/g, typeOnly: (match) => match[1] === undefined },
  // a file next to this one, to be started
  { pattern: /()new URL\("(\.[^"]+)", import\.meta\.url\)/g, typeOnly: () => false },
];

/** What a source imports, in the order of the patterns above. */
export function importsOf(from: string, source = read(from)): Import[] {
  const text = withoutComments(source);
  return patterns.flatMap(({ pattern, typeOnly }) =>
    [...text.matchAll(pattern)].map((match) => {
      const specifier = match[2] ?? "";
      return { from, to: specifier.startsWith(".") ? posix.join(dirname(from), specifier) : specifier, typeOnly: typeOnly(match) };
    }),
  );
}

/** Files that a text names as something to run: `join(root, "agent/index.ts")`, `exec node "$root/scripts/up.ts"`, a bin. */
export function namedIn(from: string, source = read(from)): string[] {
  const text = /\.[mc]?[tj]s$/.test(from) ? withoutComments(source).replaceAll(/\bfrom\s+"[^"]+"/g, "") : source;
  // $root/ and the like stand for the root
  return [...text.replaceAll(/\$\{?\w+\}?\//g, "/").matchAll(/[\w./-]+\.(?:ts|mjs|sh)\b/g)].flatMap(([token]) => [posix.normalize(token.replace(/^\/+/, "")), posix.join(dirname(from), token)]);
}

/** A way round in a graph, or undefined where there is none. */
export function circle(edges: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const way: string[] = [];
  function visit(file: string): string[] | undefined {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
    if (done.has(file)) return undefined;
    way.push(file);
    for (const next of edges.get(file) ?? []) {
      const found = visit(next);
      if (found !== undefined) return found;
    }
    way.pop();
    done.add(file);
    return undefined;
  }
  for (const file of edges.keys()) {
    const found = visit(file);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Everything that is reached from some files. */
export function reached(from: Iterable<string>, edges: ReadonlyMap<string, readonly string[]>): Set<string> {
  const seen = new Set(from);
  for (const file of seen) for (const next of edges.get(file) ?? []) seen.add(next);
  return seen;
}
