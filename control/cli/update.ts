import { InvalidArgumentError, type Command } from "commander";
import { rolloutModes, type RolloutPolicy } from "../../schema/policy.ts";
import { applyFile, type ApplyOptions } from "./apply.ts";
import { connect } from "./client.ts";
import { applyOptions } from "./up.ts";

/** In capitals and with a dash too, as SkyServe takes it. */
function readMode(text: string): RolloutPolicy["mode"] {
  const mode = rolloutModes.find((known) => known === text.toLowerCase().replaceAll("-", "_"));
  if (mode === undefined) throw new InvalidArgumentError(`Allowed choices are ${rolloutModes.join(", ")}.`);
  return mode;
}

export function updateCommand(program: Command): void {
  applyOptions(program.command("update").description("update a service that exists, and wait until the new version has taken over").argument("<NAME>", "the service").argument("<FILE>", "its new file; - for standard input"))
    .option("--mode <MODE>", `how the new version takes the place of the old one: ${rolloutModes.join(", ")}; else the file's rollout.mode, which is rolling`, readMode)
    .addHelpText("after", "\nExamples:\n  fairlead update chat chat.yaml\n  fairlead update chat chat.yaml --mode canary\n  fairlead update chat chat.yaml --mode rolling   # the same file again: end its canary, all at once\n  fairlead update chat chat.yaml -y --async")
    .action(async (name: string, file: string, options: ApplyOptions, command: Command) => {
      await applyFile(await connect(command), file, name, options, { mustExist: true });
    });
}
