import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newKey } from "../../schema/key.ts";

/** What this world's parts know each other by; made once per state folder, mode 0600. */
export interface WorldSecrets {
  pepper: string;
  controlToken: string;
  sharedKey: string;
  ticketKey: string;
  adminKey: string;
  /** The inference key of `up.json`; made by control on the first start. */
  apiKey?: string;
}

const file = (state: string): string => join(state, "secrets.json");

export function loadSecrets(state: string): WorldSecrets {
  if (existsSync(file(state))) return JSON.parse(readFileSync(file(state), "utf8")) as WorldSecrets;
  const random = (): string => randomBytes(32).toString("base64url");
  const secrets: WorldSecrets = { pepper: random(), controlToken: random(), sharedKey: random(), ticketKey: random(), adminKey: newKey("fla").key };
  saveSecrets(state, secrets);
  return secrets;
}

export function saveSecrets(state: string, secrets: WorldSecrets): void {
  writeFileSync(file(state), JSON.stringify(secrets, null, 2), { mode: 0o600 });
}
