const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of `250ms`, `3s`, `1.5m` or `1h`; a bare number is milliseconds. Throws on anything else. */
export function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text.trim());
  if (match === null) throw new Error(`Cannot read duration "${text}": write 250ms, 3s, 2m or 1h`);
  return Number(match[1]) * (UNITS[match[2] ?? "ms"] ?? 1);
}
