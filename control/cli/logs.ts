import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Command } from "commander";
import { connect } from "./client.ts";
import { Failure } from "./failure.ts";

export function logsCommand(program: Command): void {
  program
    .command("logs")
    .description("show what replicas print")
    .argument("<NAME>", "the service")
    .argument("[REPLICA...]", "by number, region.number or id; all that run when none is named")
    .option("--follow", "go on as they print; the default")
    .option("--no-follow", "stop at the end")
    .option("--tail <N>", "begin with so many last lines", "200")
    .addHelpText("after", "\nExamples:\n  fairlead logs chat\n  fairlead logs chat 3 --no-follow --tail 50")
    .action(async (name: string, replicas: string[], { follow = true, tail }: { follow?: boolean; tail: string }, command: Command) => {
      if (!/^\d{1,6}$/.test(tail)) throw new Failure(`Cannot use --tail ${tail}: write a number of lines`, 2);
      const client = await connect(command);
      const query = new URLSearchParams({ tail, follow: follow ? "1" : "0" });
      for (const replica of replicas) query.append("replica", replica);
      const stream = await client.stream(`/v1/services/${encodeURIComponent(name)}/logs?${query.toString()}`);
      await pipeline(Readable.fromWeb(stream as Parameters<typeof Readable.fromWeb>[0]), process.stdout, { end: false }).catch((error: NodeJS.ErrnoException) => {
        // `| head` has seen enough
        if (error.code !== "EPIPE") throw new Failure(`Cannot go on with the logs of "${name}": the connection to control broke off`);
      });
    });
}
