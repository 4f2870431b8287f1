import { homedir } from "node:os";
import { resolve } from "node:path";
import { styleText } from "node:util";
import { isScalar, parseDocument } from "yaml";
import { formatProblem, type Problem } from "../../schema/problem.ts";

/** The file with its `workdir` as a whole path, nothing else changed: a host cannot know where `fairlead up` was run. */
export function withWholeWorkdir(text: string, cwd: string, home = homedir()): string {
  const node = parseDocument(text).get?.("workdir", true);
  if (!isScalar(node) || typeof node.value !== "string" || node.value === "" || node.range == null || node.value.startsWith("$")) return text;
  const whole = /^~(?=$|\/)/.test(node.value) ? node.value.replace("~", home) : resolve(cwd, node.value);
  return whole === node.value ? text : text.slice(0, node.range[0]) + JSON.stringify(whole) + text.slice(node.range[1]);
}

/** Show problems on stderr, one a line. @returns how many are errors */
export function showProblems(problems: readonly Problem[], file: string): number {
  for (const problem of problems) {
    const line = formatProblem(problem, file);
    const colour = problem.level === "error" ? "red" : "yellow";
    console.error(line.replace(` ${problem.level}: `, ` ${styleText(colour, problem.level, { stream: process.stderr })}: `));
  }
  return problems.filter(({ level }) => level === "error").length;
}
