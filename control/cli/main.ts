import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { downCommand } from "./down.ts";
import { explainCommand } from "./explain.ts";
import { Failure } from "./failure.ts";
import { hostsCommand } from "./hosts.ts";
import { keysCommand } from "./keys.ts";
import { logsCommand } from "./logs.ts";
import { operatorCommand } from "./operator.ts";
import { statusCommand } from "./status.ts";
import { upCommand } from "./up.ts";
import { updateCommand } from "./update.ts";
import { validateCommand } from "./validate.ts";

/** The command line: one file a command. Exit codes: 0 done, 1 not done, 2 asked wrongly. */
const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };

const program = new Command("fairlead")
  .description("One OpenAI-compatible URL for every GPU you run and every provider you rent.")
  .version(version)
  .option("--control <URL>", "where control is; else FAIRLEAD_CONTROL_URL, .fairlead/up.json, ~/.config/fairlead/config.json")
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "fairlead: ")) })
  .addHelpText("after", "\nExamples:\n  fairlead up examples/hello.yaml\n  fairlead status --watch\n  fairlead COMMAND --help")
  .exitOverride();

upCommand(program);
updateCommand(program);
statusCommand(program);
logsCommand(program);
explainCommand(program);
downCommand(program);
validateCommand(program);
keysCommand(program);
hostsCommand(program);
operatorCommand(program);

// `| head` has seen enough; whoever reads nothing any more is told nothing
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit();
    console.error(`fairlead: Cannot write: ${error.message}`);
    process.exit(1);
  });
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    console.error(`fairlead: ${error instanceof Failure ? error.message : unforeseen(error)}`);
    process.exitCode = error instanceof Failure ? error.exitCode : 1;
  }
}

/** What nobody thought of is a fault of ours: where it came from helps whoever mends it, and nobody else. */
function unforeseen(error: unknown): string {
  if (!(error instanceof Error)) return `Cannot go on: ${String(error)}`;
  return process.env["FAIRLEAD_DEBUG"] === undefined ? `Cannot go on: ${error.message}; FAIRLEAD_DEBUG=1 shows where` : `Cannot go on: ${error.stack ?? error.message}`;
}
