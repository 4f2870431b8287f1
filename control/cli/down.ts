import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { parseDuration, formatDuration } from "../../schema/units.ts";
import type { StatusAnswer } from "../routes/status.ts";
import { confirm } from "./ask.ts";
import { connect, type Client } from "./client.ts";
import { watchDown } from "./downWatch.ts";
import { Failure } from "./failure.ts";
import { lookAgain } from "./lookAgain.ts";
import { startProgress } from "./progress.ts";

interface DownOptions {
  all?: boolean;
  replicaId?: string;
  purge?: boolean;
  async?: boolean;
  yes?: boolean;
  timeout: string;
}

interface Deleted {
  published: boolean;
  reason?: string;
}

export function downCommand(program: Command): void {
  program
    .command("down")
    .description("take services down, and wait until their replicas are gone")
    .argument("[NAME...]", "services; * and ? stand for letters")
    .option("-a, --all", "every service")
    .option("--replica-id <REPLICA>", "only this replica, by number, region.number or id: another takes its place")
    .option("-p, --purge", "do not wait for replicas, even for those that cannot be reached")
    .option("--async", "do not wait")
    .option("-y, --yes", "do not ask")
    .option("--timeout <DURATION>", "how long to wait", "5m")
    .addHelpText("after", "\nExamples:\n  fairlead down chat\n  fairlead down 'test-*' -y\n  fairlead down chat --replica-id 3 -y")
    .action(async (names: string[], options: DownOptions, command: Command) => {
      const timeoutMs = parseDuration(options.timeout);
      if (timeoutMs === undefined) throw new Failure(`Cannot use --timeout ${options.timeout}: write a duration such as 90s or 5m`, 2);
      if (names.length === 0 && options.all !== true) throw new Failure("Cannot take nothing down: name services, or pass --all", 2);
      if (names.length > 0 && options.all === true) throw new Failure(`Cannot use --all beside ${names.join(", ")}: name services, or pass --all`, 2);
      const client = await connect(command);
      if (options.replicaId !== undefined) return downReplica(client, names, options.replicaId, options);
      const known = (await client.call<{ services: { name: string }[] }>("GET", "/v1/services")).services.map(({ name }) => name);
      const chosen = options.all === true ? known : [...new Set(names.flatMap((name) => matching(name, known)))];
      if (chosen.length === 0) return console.error("No existing services.");
      await confirm(`Take down ${chosen.join(", ")}?`, options.yes);
      for (const name of chosen) {
        const { published, reason } = await client.call<Deleted>("DELETE", `/v1/services/${encodeURIComponent(name)}`);
        console.error(published ? `Taking down ${name}.` : `${name} is taken down, and the edge does not know it yet: ${reason ?? "it does not answer"}`);
      }
      if (options.async === true || options.purge === true) return;
      await waitGone(client, chosen, timeoutMs);
      console.log(`${chosen.join(", ")}: down`);
    });
}

async function downReplica(client: Client, names: readonly string[], replica: string, { all, yes }: DownOptions): Promise<void> {
  const [name, another] = names;
  if (name === undefined || another !== undefined || all === true) throw new Failure("Cannot use --replica-id with several services: name one", 2);
  await confirm(`Replace replica ${replica} of ${name}?`, yes);
  const { id } = await client.call<{ id: string }>("DELETE", `/v1/services/${encodeURIComponent(name)}/replicas/${encodeURIComponent(replica)}`);
  console.log(`${id}: removed, another takes its place`);
}

/** The services that a name or pattern means. @throws Failure when none is meant */
export function matching(pattern: string, known: readonly string[]): string[] {
  const expression = new RegExp(`^${pattern.replaceAll(/[\\^$.|+()[\]{}]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".")}$`);
  const found = known.filter((name) => expression.test(name));
  if (found.length === 0) throw new Failure(`Cannot take down "${pattern}": there is no such service`);
  return found;
}

async function waitGone(client: Client, names: readonly string[], timeoutMs: number): Promise<void> {
  const look = watchDown(names);
  const progress = await startProgress();
  const started = performance.now();
  try {
    for (;;) {
      const status = await lookAgain(() => client.call<StatusAnswer>("GET", `/v1/status?services=${names.map(encodeURIComponent).join(",")}`), progress);
      const seen = status === undefined ? undefined : look(status);
      for (const name of seen?.again ?? []) progress.note(`${name} was created again meanwhile: it is not waited for.`);
      if (seen?.left === 0) return;
      if (performance.now() - started > timeoutMs) throw new Failure(`Cannot wait longer than ${formatDuration(timeoutMs)}: ${seen?.left === undefined ? "nobody can say what is still ending" : `${seen.left} replicas are still ending`}; see fairlead status`);
      if (seen !== undefined) progress.waiting(seen.waiting);
      await sleep(500);
    }
  } finally {
    progress.stop();
  }
}
