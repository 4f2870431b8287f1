import type { z } from "zod";
import { nearestName, type Path, type Report } from "./problem.ts";

type Issue = z.core.$ZodIssue;

/**
 * Report what a zod schema found, each unknown field by itself and with the nearest known name, as is a value that is none of those
 * there are (where issues hold their `input`). Values are never repeated: they may be secrets.
 */
export function reportIssues(issues: readonly Issue[], schema: z.ZodType, report: Report, prefix: Path = []): void {
  for (const issue of issues) {
    const path = [...prefix, ...issue.path.filter((part) => typeof part !== "symbol")];
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) {
        const nearest = nearestName(key, knownKeys(schema, path));
        report("error", [...path, key], `is not a known field${nearest === undefined ? "" : `; did you mean ${nearest}?`}`);
      }
    } else if (issue.code === "invalid_union") {
      const branch = likeliest(issue.errors);
      if (issue.errors.flat().every(isMissing)) report("error", path, "is missing");
      else if (branch === undefined) report("error", path, `must be ${issue.errors.flatMap((errors) => errors.flatMap(expected)).join(" or ") || "something else"}`);
      else reportIssues(branch, schema, report, path);
    } else report("error", path, words(issue));
  }
}

/** The branch of a union that the author meant: the only one whose kind of value fits. */
export function likeliest(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const fitting = branches.filter((issues) => !issues.some((issue) => issue.path.length === 0 && (issue.code === "invalid_type" || issue.code === "invalid_value")));
  return fitting.length === 1 ? fitting[0] : undefined;
}

function expected(issue: Issue): string[] {
  if (issue.code === "invalid_type") return [kinds[issue.expected] ?? `a ${issue.expected}`];
  return issue.code === "invalid_value" ? issue.values.map(String) : [];
}

function isMissing(issue: Issue): boolean {
  return issue.code === "invalid_type" && issue.input === undefined && /received undefined/.test(issue.message);
}

const kinds: Record<string, string> = {
  object: "a group of fields", record: "a group of fields", array: "a list", int: "a whole number", string: "text", boolean: "true or false", number: "a number",
};

function words(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return isMissing(issue) ? "is missing" : `must be ${kinds[issue.expected] ?? issue.expected}`;
    case "invalid_value": {
      const known = issue.values.map(String);
      const nearest = typeof issue.input === "string" ? nearestName(issue.input, known) : undefined;
      return `must be ${known.length > 1 ? "one of " : ""}${known.join(", ")}${nearest === undefined || known.length === 1 ? "" : `; did you mean ${nearest}?`}`;
    }
    case "too_small":
      return issue.origin === "string" || issue.origin === "array" ? "must not be empty" : `must be ${issue.inclusive ? "at least" : "more than"} ${issue.minimum}`;
    case "too_big":
      return `must be ${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}${issue.origin === "string" ? " characters" : ""}`;
    default:
      return issue.message;
  }
}

/** The fields that a schema knows at a path of the file, through optional and union types. */
export function knownKeys(schema: z.core.$ZodType, path: Path): string[] {
  const def = schema._zod.def as { innerType?: z.core.$ZodType; in?: z.core.$ZodType; element?: z.core.$ZodType; valueType?: z.core.$ZodType; options?: z.core.$ZodType[]; shape?: Record<string, z.core.$ZodType> };
  const inner = def.innerType ?? def.in;
  if (inner !== undefined) return knownKeys(inner, path);
  if (def.options !== undefined) return def.options.flatMap((option) => knownKeys(option, path));
  const [first, ...rest] = path;
  if (first === undefined) return Object.keys(def.shape ?? {});
  const next = def.shape?.[String(first)] ?? def.element ?? def.valueType;
  return next === undefined ? [] : knownKeys(next, rest);
}
