import Table from "cli-table3";

const nothing = { top: "", "top-mid": "", "top-left": "", "top-right": "", bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "", left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: "  " };

/** Rows under headings, without borders, aligned to the left. */
export function table(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const out = new Table({ head: [...headings], chars: nothing, style: { "padding-left": 0, "padding-right": 0, head: [], border: [] } });
  out.push(...rows.map((row) => row.map(String)));
  return out.toString().split("\n").map((line) => line.trimEnd()).join("\n");
}
