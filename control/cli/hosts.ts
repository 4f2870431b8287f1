import type { Command } from "commander";
import { formatDuration } from "../../schema/units.ts";
import type { StatusAnswer } from "../routes/status.ts";
import { confirm } from "./ask.ts";
import { connect } from "./client.ts";
import { drainCommand } from "./drain.ts";
import { hostsTable } from "./hostsTable.ts";
import { lines, showLog } from "./logs.ts";

interface Invited {
  token: string;
  region: string;
  expiresAt: number;
  command: string;
}

export function hostsCommand(program: Command): void {
  const hosts = program.command("hosts").description("machines that run replicas").addHelpText("after", "\nExamples:\n  fairlead hosts invite --region weur\n  fairlead hosts list\n  fairlead hosts drain rack-7\n  fairlead hosts revoke host_01…");

  hosts
    .command("invite")
    .description("make a join token for one host, good for 15 minutes; it is shown once, on standard output")
    .option("--region <REGION>", "where the host is; the fleet's first region when absent")
    .option("--name <NAME>", "what the host is called; its own name when absent")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExamples:\n  fairlead hosts invite --region weur --name rack-7\n  fairlead hosts invite | ssh rack-7 fairlead-agent join --control https://control.example.com --token-file -")
    .action(async ({ region, name, json }: { region?: string; name?: string; json?: boolean }, command: Command) => {
      const client = await connect(command);
      const invited = await client.call<Invited>("POST", "/v1/hosts/invites", { ...(region === undefined ? {} : { region }), ...(name === undefined ? {} : { name }) });
      if (json === true) return console.log(JSON.stringify(invited, undefined, 2));
      console.error(`On the host, within ${formatDuration(invited.expiresAt - Date.now())}, give this token to ${invited.command}; the host joins ${invited.region}:`);
      console.log(invited.token);
    });

  hosts
    .command("list")
    .description("show hosts: whether they are connected, their GPUs, load, memory and disk")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  fairlead hosts list")
    .action(async ({ json }: { json?: boolean }, command: Command) => {
      const { hosts: rows, takenAt } = await (await connect(command)).call<StatusAnswer>("GET", "/v1/status");
      if (json === true) console.log(JSON.stringify(rows, undefined, 2));
      else if (rows.length === 0) console.log("No existing hosts.");
      else console.log(hostsTable(rows, takenAt));
    });

  hosts
    .command("logs")
    .description("show what a host's agent says of itself")
    .argument("<HOST>", "the host's id, or its name")
    .option("--follow", "go on as it comes; the default")
    .option("--no-follow", "stop at the end")
    .option("--tail <N>", "begin with so many last lines", "200")
    .addHelpText("after", "\nExample:\n  fairlead hosts logs rack-7 --no-follow")
    .action(async (host: string, { follow = true, tail }: { follow?: boolean; tail: string }, command: Command) => {
      await showLog(command, `/v1/hosts/${encodeURIComponent(host)}/logs?${new URLSearchParams({ tail: lines(tail), follow: follow ? "1" : "0" }).toString()}`, `the log of host ${host}`);
    });

  hosts
    .command("release")
    .description("let a host back in that was shut out because its identity was seen in two places")
    .argument("<ID>", "the host's id")
    .option("-y, --yes", "do not ask")
    .addHelpText("after", "\nWhoever has a copy of the host's key may use it again. If you do not know where the copy is, revoke the host and invite it anew.\n\nExample:\n  fairlead hosts release host_01k9… -y")
    .action(async (id: string, { yes }: { yes?: boolean }, command: Command) => {
      const client = await connect(command);
      await confirm(`Let host ${id} back in?`, yes);
      const { published, reason } = await client.call<{ published: boolean; reason?: string }>("POST", `/v1/hosts/${encodeURIComponent(id)}/release`);
      console.log(published ? `${id}: released` : `${id}: released, and the edge does not know it yet: ${reason ?? "it does not answer"}`);
    });

  drainCommand(hosts);

  hosts
    .command("revoke")
    .description("shut a host out, at once and for good; its replicas are started elsewhere")
    .argument("<ID>", "the host's id")
    .option("-y, --yes", "do not ask")
    .addHelpText("after", "\nExample:\n  fairlead hosts revoke host_01k9… -y")
    .action(async (id: string, { yes }: { yes?: boolean }, command: Command) => {
      const client = await connect(command);
      await confirm(`Shut out host ${id} for good?`, yes);
      const { published, reason } = await client.call<{ published: boolean; reason?: string }>("DELETE", `/v1/hosts/${encodeURIComponent(id)}`);
      console.log(published ? `${id}: revoked` : `${id}: revoked, and the edge does not know it yet: ${reason ?? "it does not answer"}`);
    });
}
