import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { StatusAnswer } from "../routes/status.ts";
import { connect } from "./client.ts";
import { Failure } from "./failure.ts";
import { lookAgain } from "./lookAgain.ts";
import { statusTables } from "./statusTables.ts";

/** Between two pictures, in ms. */
const watchMs = 2_000;

interface StatusOptions {
  verbose?: boolean;
  endpoint?: boolean;
  watch?: boolean;
  json?: boolean;
}

export function statusCommand(program: Command): void {
  program
    .command("status")
    .description("show services and their replicas, at once, whatever the fleet is doing")
    .argument("[NAME...]", "services; all when none is named")
    .option("-v, --verbose", "models, policies, rollouts, decisions, loads, requests of the last minute, hosts with their GPUs, and every replica that failed")
    .option("--endpoint", "only the URL that clients use")
    .option("--watch", "show it again every two seconds")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExamples:\n  fairlead status\n  fairlead status chat -v\n  fairlead status chat --endpoint\n  fairlead status --json | jq '.services[].status'")
    .action(async (names: string[], options: StatusOptions, command: Command) => {
      const client = await connect(command);
      const query = names.length === 0 ? "" : `?services=${names.map(encodeURIComponent).join(",")}`;
      for (let isFirst = true; ; isFirst = false) {
        const ask = () => client.call<StatusAnswer>("GET", `/v1/status${query}`);
        // who watches sees a restart of control through
        const status = isFirst ? await ask() : await lookAgain(ask, { waiting: (text) => console.error(text) });
        if (status === undefined) {
          await sleep(watchMs);
          continue;
        }
        const absent = names.find((name) => !status.services.some((service) => service.name === name));
        if (absent !== undefined && options.watch !== true) throw new Failure(`Cannot show service "${absent}": there is no such service`);
        if (options.watch === true && process.stdout.isTTY) process.stdout.write("\u001B[H\u001B[2J");
        show(status, names, options);
        if (options.watch !== true) return;
        await sleep(watchMs);
      }
    });
}

function show(status: StatusAnswer, names: readonly string[], { verbose = false, endpoint, json }: StatusOptions): void {
  if (endpoint === true) {
    const urls = names.length === 0 ? [status.endpoint] : status.services.map((service) => service.endpoint);
    console.log(json === true ? JSON.stringify(urls) : urls.join("\n"));
  } else console.log(json === true ? JSON.stringify(status, undefined, 2) : statusTables(status, verbose));
}
