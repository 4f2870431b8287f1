import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Clock } from "../schema/clock.ts";
import { helloText, keyTimes, rotateText, type Hello } from "../schema/protocol.ts";
import { fromBase64, sealTo } from "../schema/seal.ts";
import { startHub, type HubStandIn } from "./hubStandIn.ts";
import { loadKeys } from "./identity.ts";
import { createLog } from "./log.ts";
import { keepKeysFresh } from "./rotate.ts";

let hub: HubStandIn;
let state: string;
beforeEach(async () => {
  hub = await startHub();
  state = join(hub.folder, "s");
});
afterEach(() => hub.close());

async function proves(publicKey: string, text: string, signature: string | undefined): Promise<boolean> {
  const key = await crypto.subtle.importKey("raw", fromBase64(publicKey), "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", key, fromBase64(signature ?? ""), new TextEncoder().encode(text));
}

describe("fairlead-agent rotate", { timeout: 120_000 }, () => {
  test("proves old and new key; the running agent shows both at its next connection, and what is sealed to either is opened", async () => {
    await hub.agent("trust: unsigned\n");
    const old = hub.keys;
    if (old === undefined) throw new Error("the agent has not joined");
    hub.refuse = true;
    const failed = hub.start("rotate", "--config", join(hub.folder, "agent.yaml"));
    expect([await failed.exit, failed.out()]).toEqual([1, expect.stringContaining("Cannot rotate: control answered 500")]);
    const rotated = hub.start("rotate", "--config", join(hub.folder, "agent.yaml"));
    expect([await rotated.exit, rotated.out()]).toEqual([0, expect.stringContaining("The old one counts beside them until 1970-01-02")]);

    // what was lost on its way is asked for again with the same keys: control may have taken them
    const [lost, taken] = hub.rotations;
    expect(taken).toEqual(lost);
    const text = rotateText("host_1", old.publicKey, taken?.publicKey ?? "", taken?.sealKey ?? "");
    expect([await proves(old.publicKey, text, taken?.previousSignature), await proves(taken?.publicKey ?? "", text, taken?.signature)]).toEqual([true, true]);
    expect((await stat(join(state, "keys.json"))).mode & 0o777).toBe(0o600);

    hub.cut();
    await hub.until(() => hub.heard.filter(({ type }) => type === "hello").length === 2);
    const hello = hub.heard.findLast((message): message is Hello => message.type === "hello");
    if (hello === undefined) throw new Error("no hello");
    const said = helloText(hub.challenge, hello);
    expect([await proves(taken?.publicKey ?? "", said, hello.signature), await proves(old.publicKey, said, hello.previousSignature)]).toEqual([true, true]);

    const keys = await loadKeys(state);
    for (const sealKey of [old.sealKey, taken?.sealKey ?? ""]) {
      expect(await keys.openSecrets({ service: "chat", sealedSecrets: await sealTo(sealKey, "secrets:chat", '{"A":"b"}') } as Parameters<typeof keys.openSecrets>[0])).toEqual({ A: "b" });
    }
  });

  test("comes by itself at half of the keys' life, and not before", async () => {
    const running = await hub.agent("trust: unsigned\n");
    running.child.kill("SIGKILL");
    const made = (JSON.parse(await readFile(join(state, "keys.json"), "utf8")) as { madeAt: number }).madeAt;
    let now = made + keyTimes.renewMs - 1;
    const clock: Clock = { now: () => now };
    const due: (() => void)[] = [];
    const delays: number[] = [];
    const fresh = keepKeysFresh({ state, clock, random: () => 0, log: createLog({ level: "error", clock, write: () => undefined }), timers: { after: (ms, action) => (due.push(action), delays.push(ms), () => undefined) } });
    due.shift()?.();
    await hub.until(() => due.length === 1);
    expect(hub.rotations).toEqual([]);
    now++;
    due.shift()?.();
    await hub.until(() => due.length === 1);
    expect(hub.rotations).toHaveLength(1);
    due.shift()?.();
    await hub.until(() => due.length === 1);
    expect(hub.rotations).toHaveLength(1);
    expect(delays.slice(1).every((ms) => ms === 6 * 3_600_000)).toBe(true);
    fresh.close();
  });
});
