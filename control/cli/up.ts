import { InvalidArgumentError, type Command } from "commander";
import { applyFile, type ApplyOptions } from "./apply.ts";
import { connect } from "./client.ts";
import { Failure } from "./failure.ts";

const collect = (value: string, before: string[] = []) => [...before, value];

function readVersion(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("Write a whole number.");
  return Number(text);
}

/** The options that `up` and `update` share. */
export function applyOptions(command: Command): Command {
  return command
    .option("-y, --yes", "do not ask")
    .option("--env <NAME=VALUE>", "a value for envs, and for $NAME in service; NAME alone takes it from your environment; repeatable", collect)
    .option("--secret <NAME=VALUE>", "the same for secrets: it is stored encrypted and sealed to each host", collect)
    .option("--env-file <FILE>", "values for envs from a .env file")
    .option("--sign-key <FILE>", "sign it with this operator key, for hosts that run signed services only; else FAIRLEAD_SIGN_KEY")
    .option("--sign-version <N>", "the version to sign, where control has forgotten one that hosts have seen", readVersion)
    .option("--async", "do not wait until replicas are ready")
    .option("--timeout <DURATION>", "how long to wait", "20m");
}

export function upCommand(program: Command): void {
  applyOptions(
    program
      .command("up")
      .description("create or update a service from a file, and wait until it answers")
      .argument("<FILE>", "a service file, SkyServe's or Fairlead's; - for standard input")
      .option("-n, --name <NAME>", "the service's name, instead of the file's")
      .option("--service-name <NAME>", "the same, as SkyServe calls it"),
  )
    .addHelpText("after", "\nExamples:\n  fairlead up examples/hello.yaml\n  fairlead up chat.yaml -n chat-eu -y --secret HF_TOKEN --env MODEL=Qwen/Qwen3-8B")
    .action(async (file: string, options: ApplyOptions & { name?: string; serviceName?: string }, command: Command) => {
      const { name, serviceName } = options;
      if (name !== undefined && serviceName !== undefined && name !== serviceName) throw new Failure(`Cannot use --name ${name} beside --service-name ${serviceName}: they are one option`, 2);
      await applyFile(await connect(command), file, name ?? serviceName, options);
    });
}
