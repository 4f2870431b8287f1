import { namePattern, type Sources } from "./environment.ts";
import type { Report } from "./problem.ts";
import type { YamlTree } from "./yamlTree.ts";

const isReference = (entry: unknown): entry is string => typeof entry === "string" && entry.startsWith("secrets:");

/** @example referred("secrets:workspace.HF_TOKEN") // "HF_TOKEN" */
const referred = (entry: string): string => entry.replace(/^secrets:(personal\.|workspace\.|global\.)?/, "");

/** The `envs:` and `secrets:` of a file. Values are taken as written: `1.10` stays `1.10`, `0123` keeps its zero. */
export function readDeclared(tree: YamlTree, report: Report): Sources["declared"] {
  return { envs: readSection(tree, "envs", report), secrets: readSection(tree, "secrets", report) };
}

function readSection(tree: YamlTree, section: "envs" | "secrets", report: Report): Record<string, string | null> {
  const out: Record<string, string | null> = {};
  const fields = (tree.value as Record<string, unknown>)[section];
  if (Array.isArray(fields)) {
    // a list of references to secrets that SkyPilot keeps: here they are to be supplied
    if (section === "secrets") for (const entry of fields) if (isReference(entry)) out[referred(entry)] = null;
    return out;
  }
  if (typeof fields !== "object" || fields === null) return out;
  for (const [name, value] of Object.entries(fields)) {
    if (section === "secrets" && isReference(name) && value === null) out[referred(name)] = null;
    else if (!namePattern.test(name)) report("error", [section, name], "is not a name of an environment variable");
    // groups and lists are left to the schema, which says what is wrong with them
    else if (value === null) out[name] = null;
    else if (typeof value !== "object") out[name] = typeof value === "string" ? value : (tree.source([section, name]) ?? String(value));
  }
  return out;
}
