import { styleText } from "node:util";
import type { DecisionRecord, DryRunAnswer, Method, Weighed } from "../../schema/decision.ts";
import { table } from "./table.ts";

/** What became of a request, as text. */
export function explainText(record: DecisionRecord): string {
  const { requestId, at, reason, attempts } = record;
  const head = facts([["Request", requestId], ["Came", new Date(at).toISOString()], ...asked(record), ...held(record), ["Answer", answered(record)], ...(reason === undefined ? [] : [["Reason", reason] as [string, string]])]);
  return [head, section("Candidates", candidates(record)), section("Attempts", tried(attempts))].join("\n\n");
}

/** Replicas' ids begin with their service's name. */
function held({ service, heldMs, attempts, upstream }: DecisionRecord): [string, string][] {
  // there was no place to wait
  if (heldMs === undefined || heldMs === 0) return [];
  const toReplica = attempts.some(({ id }) => id.startsWith(`${service}.`)) || upstream?.startsWith(`${service}.`) === true;
  return [["Held", `${(heldMs / 1_000).toFixed(1)} s ${toReplica ? "while the first replica started" : "and no replica was ready"}`]];
}

function answered({ status, upstream, ms, attempts }: DecisionRecord): string {
  const givers = attempts.filter(({ outcome, midway }) => midway === true || outcome === "answer").map(({ id }) => id);
  if (upstream === undefined) return givers.length === 0 ? `status ${status} after ${millis(ms)}, from no upstream` : `begun by ${givers[0]}, ended with an error after ${millis(ms)}`;
  if (givers.length < 2) return `status ${status} after ${millis(ms)}, from ${upstream}`;
  return `status ${status}, begun by ${givers[0]}, ended by ${upstream} after ${millis(ms)}`;
}

const goingOn: Record<Method, string> = {
  exact: "to go on by token ids (exact)",
  text: "to go on from the text (text)",
  regenerate: "to go on with the same answer once more (regenerate)",
};

function tried(attempts: DecisionRecord["attempts"]): string {
  if (attempts.length === 0) return "Nothing was tried.";
  const rows = attempts.map(({ id, outcome, ms, midway, method, detour }, i) => {
    const notes = [...(method === undefined ? [] : [goingOn[method]]), ...(midway === true ? ["lost in the middle of its answer"] : []), ...(detour === true ? ["a relay of its host did not answer: went by another"] : [])];
    return [i + 1, id, outcome, millis(ms), notes.join("; ")];
  });
  return rows.some((row) => row.at(-1) !== "") ? table(["#", "ID", "OUTCOME", "FIRST BYTE", "NOTE"], rows) : table(["#", "ID", "OUTCOME", "TIME"], rows.map((row) => row.slice(0, -1)));
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
