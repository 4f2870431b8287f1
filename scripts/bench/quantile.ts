/** The value below which a share `q` (0..1) of the values lies, interpolated between neighbours; NaN for none. */
export function quantile(values: number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = Float64Array.from(values).sort();
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

/** The median of the values that are numbers; NaN for none. */
export function median(values: number[]): number {
  return quantile(values.filter(Number.isFinite), 0.5);
}
