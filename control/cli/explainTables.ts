import { styleText } from "node:util";
import type { DecisionRecord, DryRunAnswer, Weighed } from "../../schema/decision.ts";
import { table } from "./table.ts";

/** What became of a request, as text. */
export function explainText(record: DecisionRecord): string {
  const { requestId, at, status, reason, upstream, ms, attempts } = record;
  const answer = `status ${status} after ${millis(ms)}${upstream === undefined ? ", from no upstream" : `, from ${upstream}`}`;
  const head = facts([["Request", requestId], ["Came", new Date(at).toISOString()], ...asked(record), ["Answer", answer], ...(reason === undefined ? [] : [["Reason", reason] as [string, string]])]);
  const tried = attempts.length === 0 ? "Nothing was tried." : table(["#", "ID", "OUTCOME", "TIME"], attempts.map(({ id, outcome, ms: took }, i) => [i + 1, id, outcome, millis(took)]));
  return [head, section("Candidates", candidates(record)), section("Attempts", tried)].join("\n\n");
}

/** What would become of a request now, as text. */
export function weighedText(answer: DryRunAnswer): string {
  return [facts([["Request", "weighed now, not sent"], ...asked(answer)]), section("Candidates", candidates(answer))].join("\n\n");
}

function asked({ service, model, account, strategy, saturated }: DryRunAnswer): [string, string][] {
  return [["Service", service], ["Model", model], ["Account", account], ["Strategy", saturated ? `${strategy}; every replica is over its bounds` : strategy]];
}

function facts(rows: readonly [string, string][]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n");
}

function section(title: string, body: string): string {
  return `${styleText("bold", title, { stream: process.stdout })}\n${body}`;
}

/** In the order in which they were to be tried, the pick first; then those that were left out. */
function candidates({ candidates: ordered, filtered }: Weighed): string {
  const rows = [
    ...ordered.map(({ id, upstream, score }, i) => [i + 1, id, upstream, score === undefined ? "-" : shown(score.total), parts(score?.parts), i === 0 ? "picked" : ""]),
    ...Object.entries(filtered).map(([id, why]) => ["-", id, "", "-", "", `left out: ${why}`]),
  ];
  return rows.length === 0 ? "There was none." : table(["#", "ID", "UPSTREAM", "SCORE", "PARTS", "NOTE"], rows);
}

/** Not rounded to a larger unit: where time went is what is asked. */
const millis = (ms: number): string => `${Math.round(ms)} ms`;

const shown = (score: number): string => score.toFixed(2);

function parts(scores: Readonly<Record<string, number>> = {}): string {
  return Object.entries(scores).map(([scorer, score]) => `${scorer} ${shown(score)}`).join(", ");
}
