import { InvalidArgumentError, type Command } from "commander";
import { timeMsMax, type CreateKey } from "../../schema/api.ts";
import { rights } from "../../schema/bundle.ts";
import { keyId, newKey } from "../../schema/key.ts";
import type { KeyRow } from "../../schema/tables.ts";
import { parseDuration } from "../../schema/units.ts";
import { connect } from "./client.ts";
import { Failure } from "./failure.ts";
import { table } from "./table.ts";

type Key = Omit<KeyRow, "digest">;
type Changed = { published: boolean; reason?: string };

const collect = (value: string, before: string[] = []) => [...before, value];

function readLife(text: string): number {
  const days = /^(\d+)d$/.exec(text)?.[1];
  const ms = days === undefined ? parseDuration(text) : Number(days) * 86_400_000;
  if (ms === undefined || ms <= 0) throw new InvalidArgumentError("Write a duration such as 12h or 30d.");
  if (Date.now() + ms > timeMsMax) throw new InvalidArgumentError("No date is so far away: leave it out for a key that does not expire.");
  return ms;
}

type Right = (typeof rights)[number];

function collectRight(text: string, before: Right[] = []): Right[] {
  const right = rights.find((known) => known === text);
  if (right === undefined) throw new InvalidArgumentError(`Allowed choices are ${rights.join(", ")}.`);
  return [...before, right];
}

export function keysCommand(program: Command): void {
  const keys = program.command("keys").description("keys that clients call models with").addHelpText("after", "\nExamples:\n  fairlead keys create laptop\n  fairlead keys list\n  fairlead keys revoke 4fTq8xWv2L");

  keys
    .command("create")
    .description("make a key; it is shown once, on standard output")
    .argument("<NAME>", "whose it is")
    .option("--account <ACCOUNT>", "who pays", "default")
    .option("--right <RIGHT>", "inference or metrics; repeatable; inference when none is named", collectRight)
    .option("--service <SERVICE>", "only this service; repeatable", collect)
    .option("--expires <DURATION>", "after 12h, 30d, …", readLife)
    .option("--json", "as JSON")
    .addHelpText("after", "\nExamples:\n  export FAIRLEAD_API_KEY=$(fairlead keys create laptop)\n  fairlead keys create ci --service chat --expires 30d\n  fairlead keys create prometheus --right metrics")
    .action(async (name: string, { account, right, service, expires, json }: { account: string; right?: Right[]; service?: string[]; expires?: number; json?: boolean }, command: Command) => {
      const client = await connect(command);
      const request: CreateKey = { name, account, ...(right === undefined ? {} : { rights: right }), ...(service === undefined ? {} : { services: service }), ...(expires === undefined ? {} : { expiresAt: Date.now() + expires }) };
      const created = await client.call<Key & Changed & { key: string; unknown?: string[] }>("POST", "/v1/keys", request);
      for (const absent of created.unknown ?? []) console.error(`There is no service "${absent}": the key opens it when there is.`);
      if (!created.published) console.error(`The key is kept, and the edge does not know it yet: ${created.reason ?? "it does not answer"}`);
      console.log(json === true ? JSON.stringify(created, undefined, 2) : created.key);
    });

  keys
    .command("list")
    .description("show keys, never what proves them")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  fairlead keys list")
    .action(async ({ json }: { json?: boolean }, command: Command) => {
      const { keys: rows } = await (await connect(command)).call<{ keys: Key[] }>("GET", "/v1/keys");
      if (json === true) console.log(JSON.stringify(rows, undefined, 2));
      else if (rows.length === 0) console.log("No existing keys.");
      else console.log(table(["ID", "NAME", "ACCOUNT", "RIGHTS", "SERVICES", "CREATED", "EXPIRES", "STATE"], rows.map(keyRow)));
    });

  keys
    .command("revoke")
    .description("make a key worthless, at once")
    .argument("<ID>", "its id, the part between the first two underscores, or the key itself")
    .addHelpText("after", "\nExample:\n  fairlead keys revoke 4fTq8xWv2L")
    .action(async (named: string, _options: object, command: Command) => {
      // a key that was pasted whole is neither sent nor shown
      const id = keyId(named.trim(), "fl") ?? named;
      if (/^fla?_/.test(id)) throw new Failure("Cannot revoke this key: it is no inference key, or was not copied whole; see fairlead keys list for its id", 2);
      const { published, reason } = await (await connect(command)).call<Changed>("DELETE", `/v1/keys/${encodeURIComponent(id)}`);
      console.log(published ? `${id}: revoked` : `${id}: revoked, and the edge does not know it yet: ${reason ?? "it does not answer"}`);
    });

  keys
    .command("admin")
    .description("make an admin key, without asking anyone: start control with it as FAIRLEAD_ADMIN_KEY")
    .addHelpText("after", "\nExample:\n  FAIRLEAD_ADMIN_KEY=$(fairlead keys admin) node control/server.ts")
    .action(() => console.log(newKey("fla").key));
}

function keyRow({ id, name, account, rights, services, createdAt, expiresAt, revokedAt }: Key): string[] {
  const day = (ms: number | null) => (ms === null || ms > timeMsMax ? "-" : new Date(ms).toISOString().slice(0, 10));
  const state = revokedAt !== null ? "revoked" : expiresAt !== null && expiresAt < Date.now() ? "expired" : "valid";
  return [id, name, account, rights.join(","), services?.join(",") ?? "all", day(createdAt), day(expiresAt), state];
}
