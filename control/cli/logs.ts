import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Command } from "commander";
import { tailMax } from "../../schema/api.ts";
import { connect } from "./client.ts";
import { Failure } from "./failure.ts";

export function logsCommand(program: Command): void {
  program
    .command("logs")
    .description("show what replicas print, what was done about them, or a service's requests")
    .argument("<NAME>", "the service")
    .argument("[REPLICA...]", "by number, region.number or id; all that run when none is named")
    .option("--follow", "go on as they print; the default")
    .option("--no-follow", "stop at the end")
    .option("--tail <N>", "begin with so many last lines", "200")
    .option("--controller", "what agents and hubs did about the service")
    .option("--load-balancer", "its requests: one line each, as the edge served them")
    .option("--raw", "leave colours and other terminal escapes in")
    .addHelpText("after", "\nExamples:\n  fairlead logs chat\n  fairlead logs chat 3 --no-follow --tail 50\n  fairlead logs chat --controller --no-follow\n  fairlead logs chat --load-balancer | grep status=5")
    .action(async (name: string, replicas: string[], { follow = true, tail, controller, loadBalancer, raw }: LogsOptions, command: Command) => {
      if (controller === true && loadBalancer === true) throw new Failure("Cannot show both --controller and --load-balancer: choose one", 2);
      const source = controller === true ? "controller" : loadBalancer === true ? "load-balancer" : "replicas";
      if (source !== "replicas" && replicas.length > 0) throw new Failure(`Cannot use --${source} with a replica: it is the whole service's`, 2);
      const query = new URLSearchParams({ tail: lines(tail), follow: follow ? "1" : "0", source, ...(raw === true ? { raw: "1" } : {}) });
      for (const replica of replicas) query.append("replica", replica);
      await showLog(command, `/v1/services/${encodeURIComponent(name)}/logs?${query.toString()}`, `the logs of "${name}"`);
    });
}

interface LogsOptions {
  follow?: boolean;
  tail: string;
  controller?: boolean;
  loadBalancer?: boolean;
  raw?: boolean;
}

/** @throws Failure when it is no number of lines */
export function lines(tail: string): string {
  if (!/^\d+$/.test(tail) || Number(tail) > tailMax) throw new Failure(`Cannot use --tail ${tail}: write a number of lines, at most ${tailMax}`, 2);
  return tail;
}

/** A log of control's, to standard output as it comes. */
export async function showLog(command: Command, path: string, what: string): Promise<void> {
  const stream = await (await connect(command)).stream(path);
  await pipeline(Readable.fromWeb(stream as Parameters<typeof Readable.fromWeb>[0]), process.stdout, { end: false }).catch((error: NodeJS.ErrnoException) => {
    // `| head` has seen enough
    if (error.code !== "EPIPE") throw new Failure(`Cannot go on with ${what}: the connection to control broke off`);
  });
}
