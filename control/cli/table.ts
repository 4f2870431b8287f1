import Table from "cli-table3";

const nothing = { top: "", "top-mid": "", "top-left": "", "top-right": "", bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "", left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: "  " };

const colour = String.raw`\u001B\[\d+m`;

/** What would move the cursor or break a row: agents' and vendors' words are among the cells. Colours are ours. */
const control = new RegExp(String.raw`(?!${colour})\p{Cc}`, "gu");

/** Rows under headings, without borders, aligned to the left. */
export function table(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const out = new Table({ head: [...headings], chars: nothing, style: { "padding-left": 0, "padding-right": 0, head: [], border: [] } });
  out.push(...rows.map((row) => row.map((cell) => String(cell).replaceAll(control, " "))));
  return out.toString().split("\n").map((line) => line.trimEnd()).join("\n");
}
