import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { formatDuration, parseDuration } from "../../schema/units.ts";
import type { HostView } from "../status.ts";
import type { StatusAnswer } from "../routes/status.ts";
import { connect, type Client } from "./client.ts";
import { watchDrain } from "./drainWatch.ts";
import { Failure } from "./failure.ts";
import { lookAgain } from "./lookAgain.ts";
import { startProgress } from "./progress.ts";

/** Between two looks at a host that is emptied, in ms. */
const lookEveryMs = 500;

interface DrainOptions {
  undo?: boolean;
  async?: boolean;
  timeout: string;
  json?: boolean;
}

interface Drained {
  id: string;
  name: string;
  draining: boolean;
  published: boolean;
  reason?: string;
}

export function drainCommand(hosts: Command): void {
  hosts
    .command("drain")
    .description("empty a host: its replicas are started elsewhere first, then ended there once what they are doing is done; nothing new comes until --undo")
    .argument("<HOST>", "the host's id or name")
    .option("--undo", "let it take replicas again")
    .option("--async", "do not wait until it is empty")
    .option("--timeout <DURATION>", "how long to wait", "20m")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExamples:\n  fairlead hosts drain rack-7\n  fairlead hosts drain host_01k9… --timeout 1h && ssh rack-7 sudo reboot\n  fairlead hosts drain rack-7 --undo")
    .action(async (named: string, { undo = false, async: isAsync = false, timeout, json = false }: DrainOptions, command: Command) => {
      const timeoutMs = parseDuration(timeout);
      if (timeoutMs === undefined) throw new Failure(`Cannot use --timeout ${timeout}: write a duration such as 90s or 20m`, 2);
      const client = await connect(command);
      const { hosts: known } = await client.call<StatusAnswer>("GET", "/v1/status");
      const { id } = find(named, known, undo ? "use" : "drain");
      const answer = await client.call<Drained>("PUT", `/v1/hosts/${encodeURIComponent(id)}/draining`, { draining: !undo });
      if (!answer.published) console.error(`That is kept, and has not reached the edge yet: ${answer.reason ?? "it does not answer"}`);
      const isEmpty = undo || isAsync ? undefined : await waitEmpty(client, answer, timeoutMs);
      if (json) return console.log(JSON.stringify({ ...answer, ...(isEmpty === undefined ? {} : { empty: isEmpty }) }, undefined, 2));
      if (undo) console.log(`${answer.name}: takes replicas again`);
      else if (isEmpty === undefined) console.log(`${answer.name}: is being drained`);
      else console.log(isEmpty ? `${answer.name}: empty; nothing is placed there until fairlead hosts drain ${named} --undo` : `${answer.name}: not connected; what it had is started elsewhere when its lease is over`);
    });
}

/** The one host that is meant. @throws Failure when there is none, or a name has several */
function find(named: string, hosts: readonly HostView[], action: string): HostView {
  const usable = hosts.filter(({ state }) => state !== "revoked");
  const found = usable.filter(({ id }) => id === named);
  const byName = found.length > 0 ? found : usable.filter(({ name }) => name === named);
  const [host] = byName;
  if (host === undefined) throw new Failure(`Cannot ${action} host "${named}": there is no such host; see fairlead hosts list`);
  if (byName.length > 1) throw new Failure(`Cannot ${action} host "${named}": ${byName.length} hosts have that name; name one by its id: ${byName.map(({ id }) => id).join(", ")}`);
  return host;
}

/** @returns whether it is empty; false where it is not connected, so that it cannot be emptied */
async function waitEmpty(client: Client, { id, name }: Drained, timeoutMs: number): Promise<boolean> {
  const look = watchDrain(id);
  const progress = await startProgress();
  const started = performance.now();
  try {
    for (;;) {
      const status = await lookAgain(() => client.call<StatusAnswer>("GET", "/v1/status"), progress);
      const seen = status === undefined ? undefined : look(status);
      for (const line of seen?.lines ?? []) progress.note(line);
      if (seen?.outcome !== undefined) return seen.outcome.kind === "empty";
      if (performance.now() - started > timeoutMs) throw new Failure(`Cannot wait longer than ${formatDuration(timeoutMs)} for ${name} to be empty: it goes on being drained; see fairlead status`);
      if (seen !== undefined) progress.waiting(seen.waiting);
      await sleep(lookEveryMs);
    }
  } finally {
    progress.stop();
  }
}
