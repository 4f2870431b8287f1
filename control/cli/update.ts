import { Option, type Command } from "commander";
import { applyFile, type ApplyOptions } from "./apply.ts";
import { connect } from "./client.ts";
import { applyOptions } from "./up.ts";

export function updateCommand(program: Command): void {
  applyOptions(program.command("update").description("update a service that exists; replicas are replaced as new ones become ready").argument("<NAME>", "the service").argument("<FILE>", "its new file; - for standard input"))
    .addOption(new Option("--mode <MODE>", "how replicas are replaced").choices(["rolling"]).default("rolling"))
    .addHelpText("after", "\nExamples:\n  fairlead update chat chat.yaml\n  fairlead update chat chat.yaml -y --async")
    .action(async (name: string, file: string, options: ApplyOptions, command: Command) => {
      await applyFile(await connect(command), file, name, options, { mustExist: true });
    });
}
