import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { DecisionRecord, DryRun, DryRunAnswer } from "../../schema/decision.ts";
import { connect, type Client } from "./client.ts";
import { explainText, weighedText } from "./explainTables.ts";
import { Failure } from "./failure.ts";
import { readText } from "./textFile.ts";

/** Edges tell of their decisions once a second: one that is not known yet may be known by then. In ms. */
const toldWithinMs = 1_500;

interface ExplainOptions {
  dryRun?: string;
  account?: string;
  json?: boolean;
}

export function explainCommand(program: Command): void {
  program
    .command("explain")
    .description("say why a request went where it went, or where one would go now")
    .argument("[REQUEST_ID]", "the x-request-id of an answer; the latest few thousand are remembered")
    .option("--dry-run <FILE>", "weigh the request in this file, a JSON body as a client sends it, and send nothing; - for standard input")
    .option("--account <ACCOUNT>", "with --dry-run: whose request it is")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExamples:\n  fairlead explain req_3f1c0a…\n  fairlead explain --dry-run request.json\n  echo '{\"model\":\"chat\",\"messages\":[]}' | fairlead explain --dry-run - --json")
    .action(async (requestId: string | undefined, { dryRun, account, json }: ExplainOptions, command: Command) => {
      if ((requestId === undefined) === (dryRun === undefined)) throw new Failure("Cannot explain: give a request's id, or --dry-run FILE", 2);
      if (dryRun === undefined && account !== undefined) throw new Failure("Cannot use --account without --dry-run", 2);
      const client = await connect(command);
      if (dryRun === undefined) {
        const record = await recall(client, requestId ?? "");
        return console.log(json === true ? JSON.stringify(record, undefined, 2) : explainText(record));
      }
      const request: DryRun = { body: await readRequest(dryRun), ...(account === undefined ? {} : { account }) };
      const answer = await client.call<DryRunAnswer>("POST", "/v1/explain", request);
      console.log(json === true ? JSON.stringify(answer, undefined, 2) : weighedText(answer));
    });
}

async function recall(client: Client, requestId: string): Promise<DecisionRecord> {
  const path = `/v1/explain/${encodeURIComponent(requestId)}`;
  const known = await client.find<DecisionRecord>(path);
  if (known !== undefined) return known;
  await sleep(toldWithinMs);
  return client.call<DecisionRecord>("GET", path);
}

async function readRequest(file: string): Promise<DryRun["body"]> {
  const text = await readText(file);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Failure(`Cannot use ${file}: it is not JSON`);
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw new Failure(`Cannot use ${file}: it is not a request's body, a JSON object with a model`);
  return body as DryRun["body"];
}
