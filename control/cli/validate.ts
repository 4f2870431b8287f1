import type { Command } from "commander";
import { parseService, type ParsedService } from "../../schema/service.ts";
import { Failure } from "./failure.ts";
import { showProblems } from "./serviceFile.ts";
import { readText, Unreadable } from "./textFile.ts";

export function validateCommand(program: Command): void {
  program
    .command("validate")
    .description("check service files, SkyServe's and Fairlead's; needs no control")
    .argument("<FILE...>", "files; - for standard input")
    .option("--json", "as JSON: a list of {file, valid, problems}")
    .option("--strict", "answer as SkyServe does: refuse what only Fairlead takes")
    .addHelpText("after", "\nExamples:\n  fairlead validate chat.yaml\n  fairlead validate --strict services/*.yaml")
    .action(async (files: string[], { json = false, strict = false }: { json?: boolean; strict?: boolean }) => {
      const results = [];
      for (const file of files) {
        const { problems, service, pool } = await check(file, strict);
        const valid = problems.every(({ level }) => level !== "error");
        results.push({ file, valid, ...(service === undefined ? {} : { name: service.name }), ...(pool === undefined ? {} : { name: pool.name, pool: true }), problems });
        if (json) continue;
        showProblems(problems, file);
        if (valid) console.log(`${file}: valid`);
      }
      if (json) console.log(JSON.stringify(results, undefined, 2));
      const bad = results.filter(({ valid }) => !valid).length;
      if (bad > 0) throw new Failure(`Cannot use ${bad} of ${files.length} file${files.length === 1 ? "" : "s"}: errors are named above`);
    });
}

/** A file that cannot be read is one that is wrong: those after it are checked all the same. */
async function check(file: string, strict: boolean): Promise<ParsedService> {
  try {
    return parseService(await readText(file), { file, strict, environment: process.env });
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { problems: [{ line: 1, column: 1, field: "", message: `cannot be read: ${error.why}`, level: "error" }] };
  }
}
