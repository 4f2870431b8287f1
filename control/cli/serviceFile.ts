import { homedir } from "node:os";
import { resolve } from "node:path";
import { styleText } from "node:util";
import { formatProblem, type Problem } from "../../schema/problem.ts";
import { readYaml } from "../../schema/yamlTree.ts";

/** The file with its `workdir` as a whole path, nothing else changed: a host cannot know where `fairlead up` was run. */
export function withWholeWorkdir(text: string, cwd: string, home = homedir()): string {
  const { tree } = readYaml(text);
  const span = tree?.span(["workdir"]);
  if (tree === undefined || span === undefined) return text;
  const { workdir } = tree.value as { workdir?: unknown };
  if (typeof workdir !== "string" || workdir === "" || workdir.startsWith("$")) return text;
  const whole = /^~(?=$|\/)/.test(workdir) ? workdir.replace("~", home) : resolve(cwd, workdir);
  return whole === workdir ? text : text.slice(0, span.from) + JSON.stringify(whole) + text.slice(span.to);
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
