import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../schema/clock.ts";
import { createLog } from "./log.ts";
import { systemTimers } from "./timers.ts";
import { openTrust, type Trusted } from "./trust.ts";

let folder: string;
let opened: Trusted | undefined;
const lines: string[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "trust-"));
  lines.length = 0;
});
afterEach(async () => {
  opened?.close();
  await rm(folder, { recursive: true });
});

async function open(override: string, onChange = (): void => undefined): Promise<Trusted> {
  opened = await openTrust({
    config: { trust: "unsigned", trustPlace: "agent.yaml line 1", templates: undefined, operatorKeys: undefined, override, paths: undefined },
    state: folder, openSecrets: async () => ({}), onChange, timers: systemTimers, log: createLog({ level: "info", clock: systemClock, write: (line) => lines.push(line) }),
  });
  return opened;
}

describe("the owner's override", () => {
  test("that cannot be looked at is no override that is not there: the agent does not start", async () => {
    const override = join(folder, "override.yaml");
    // as a folder that the agent's user may not enter, which nothing keeps from root
    await symlink(override, override);
    await expect(open(override)).rejects.toThrow(/^Cannot read .*ELOOP/);
  });

  test("that cannot be looked at any more opens nothing", async () => {
    const override = join(folder, "override.yaml");
    await writeFile(override, "stop: true\n", { mode: 0o644 });
    let changes = 0;
    const trust = await open(override, () => changes++);
    await rm(override);
    await symlink(override, override);
    await expect.poll(() => changes).toBe(1);
    expect(trust.stopped).toBe(true);
    expect(lines.at(-1)).toContain("error the owner's override cannot be used: nothing more is started");
  });

  test("that is not there is said so: its name may be misspelt", async () => {
    const override = join(folder, "override.yaml");
    expect((await open(override)).stopped).toBe(false);
    expect(lines).toEqual([expect.stringContaining("info the owner's override is not there: nothing is restricted until it is")]);
  });
});
