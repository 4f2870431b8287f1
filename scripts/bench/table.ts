import Table from "cli-table3";

/** A figure with so many digits behind the point; "-" where there is none. */
export function figure(value: number, digits: number, { sign = false, unit = "" } = {}): string {
  if (!Number.isFinite(value)) return "-";
  return `${sign && value >= 0 ? "+" : ""}${value.toFixed(digits)}${unit}`;
}

/** A plain table without colour, the first column to the left and figures to the right. */
export function table(head: string[], rows: string[][]): string {
  const drawn = new Table({ head, colAligns: head.map((_, column) => (column === 0 ? "left" : "right")), style: { head: [], border: [], compact: true } });
  drawn.push(...rows);
  return drawn.toString();
}
