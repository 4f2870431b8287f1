import { isScalar, visit, type Document } from "yaml";

/**
 * Where a key stands that its map has already, in the file's order. The library's own look compares each key with all before it:
 * half a minute for a file of 20,000 variables, in which control answers nobody.
 */
export function doubledKeys(document: Document): number[] {
  const found: number[] = [];
  visit(document, {
    Map(_key, { items }) {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) found.push(key.range?.[0] ?? 0);
        seen.add(key.value);
      }
    },
  });
  return found.sort((a, b) => a - b);
}

/** Whether a value has more levels of groups and lists than `limit`. */
export function isDeeper(value: unknown, limit: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return limit === 0 || Object.values(value).some((inner) => isDeeper(inner, limit - 1));
}
