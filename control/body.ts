import type { Context } from "hono";
import type { z } from "zod";
import { FairleadError } from "../schema/errors.ts";
import { reportIssues } from "../schema/issues.ts";
import { fieldName } from "../schema/problem.ts";

/** The largest request that control reads, in bytes: a service file and its values. */
export const bodyBytesMax = 2 * 1024 * 1024;

/** A request's JSON body in the shape of a schema; no body at all counts as `{}`. @throws FairleadError that names every field at fault */
export async function readBody<S extends z.ZodType>(c: Context, schema: S): Promise<z.output<S>> {
  const text = await c.req.text();
  let value: unknown;
  try {
    value = text.trim() === "" ? {} : JSON.parse(text);
  } catch {
    throw new FairleadError("invalid_json", `Cannot read the body of ${c.req.method} ${c.req.path}: it is not JSON`);
  }
  return check(value, schema, `Cannot use the body of ${c.req.method} ${c.req.path}`);
}

/** A value in the shape of a schema. @throws FairleadError invalid_request: `subject: field must be …` */
export function check<S extends z.ZodType>(value: unknown, schema: S, subject: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const found: { field: string; message: string }[] = [];
  reportIssues(parsed.error.issues, schema, (_level, path, message) => found.push({ field: fieldName(path), message }));
  const words = found.map(({ field, message }) => (field === "" ? message : `${field} ${message}`)).join("; ");
  throw new FairleadError("invalid_request", `${subject}: ${words}`, { param: found[0]?.field || null });
}
