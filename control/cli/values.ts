import { readFile } from "node:fs/promises";
import { parseEnv } from "node:util";
import { mapTexts, namePattern, namesIn } from "../../schema/environment.ts";
import { readYaml } from "../../schema/yamlTree.ts";
import { Failure } from "./failure.ts";

export interface Values {
  envs: Record<string, string>;
  secrets: Record<string, string>;
  /** Of the caller's environment only what the file asks for. */
  environment: Record<string, string>;
}

export interface ValueFlags {
  env?: string[];
  secret?: string[];
  envFile?: string;
}

/** The values that go with a file: `--env-file`, `--env`, `--secret`, and what the file names and the environment has. */
export async function gatherValues(text: string, { env = [], secret = [], envFile }: ValueFlags, environment: Readonly<Record<string, string | undefined>>): Promise<Values> {
  const fromFile = envFile === undefined ? {} : parseEnv(await readFile(envFile, "utf8").catch((error: Error) => {
    throw new Failure(`Cannot read --env-file ${envFile}: ${error.message}`);
  }));
  const asked = Object.fromEntries(namesAsked(text).flatMap((name) => (environment[name] === undefined ? [] : [[name, environment[name]]])));
  return { envs: { ...(fromFile as Record<string, string>), ...pairs("--env", env, environment) }, secrets: pairs("--secret", secret, environment), environment: asked };
}

/** `NAME=value`, or `NAME` alone for the value that the environment has. */
function pairs(flag: string, given: readonly string[], environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    given.map((pair) => {
      const [, name = "", value] = /^([^=]*)(?:=(.*))?$/s.exec(pair) ?? [];
      if (!namePattern.test(name)) throw new Failure(`Cannot use ${flag} ${name}: write NAME=value`, 2);
      const found = value ?? environment[name];
      if (found === undefined) throw new Failure(`Cannot use ${flag} ${name}: it has no value, here or in the environment`, 2);
      return [name, found];
    }),
  );
}

/** What a file may need from outside: names in `service:`, and envs and secrets without a value. */
export function namesAsked(text: string): string[] {
  const root = readYaml(text).tree?.value;
  if (typeof root !== "object" || root === null) return [];
  const { service, envs, secrets } = root as Record<string, unknown>;
  const names = new Set<string>();
  mapTexts(service, (part) => {
    for (const name of namesIn(part)) names.add(name);
    return part;
  });
  for (const section of [envs, secrets]) {
    if (typeof section === "object" && section !== null) for (const [name, value] of Object.entries(section)) if (value === null) names.add(name);
  }
  return [...names];
}
