import { mix } from "./hash.ts";

interface Schema {
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, Schema>;
  items?: Schema;
  minItems?: number;
  anyOf?: Schema[];
  oneOf?: Schema[];
}

const WORDS = ["harbour", "tide", "lantern", "café", "port 港", "signal", "say \"ahoy\"", "keel"];

/** A value that a JSON schema allows, the same for equal `hash`. Reads types, enums, properties and items; ignores `$ref` and limits on numbers and lengths. */
export function valueFor(schema: unknown, hash: number): unknown {
  const { type, enum: allowed, const: fixed, properties, items, minItems, anyOf, oneOf } = (typeof schema === "object" && schema !== null ? schema : {}) as Schema;
  if (fixed !== undefined) return fixed;
  if (allowed !== undefined && allowed.length > 0) return allowed[hash % allowed.length];
  const alternatives = anyOf ?? oneOf;
  if (alternatives !== undefined && alternatives.length > 0) return valueFor(alternatives[hash % alternatives.length], mix(hash, 5));
  switch (Array.isArray(type) ? type[0] : (type ?? (properties === undefined ? "string" : "object"))) {
    case "object":
      return Object.fromEntries(Object.entries(properties ?? {}).map(([name, inner], index) => [name, valueFor(inner, mix(hash, index))]));
    case "array":
      return Array.from({ length: Math.max(minItems ?? 0, 1 + (hash % 2)) }, (_, index) => valueFor(items, mix(hash, index)));
    case "integer":
      return hash % 100;
    case "number":
      return (hash % 1000) / 8;
    case "boolean":
      return hash % 2 === 0;
    case "null":
      return null;
    default:
      return WORDS[hash % WORDS.length];
  }
}

/** An object for `response_format: json_object`, which names no schema. */
export function anyObject(hash: number): unknown {
  return valueFor({ type: "object", properties: { answer: { type: "string" }, count: { type: "integer" }, sure: { type: "boolean" }, list: { type: "array", items: { type: "string" } } } }, hash);
}
