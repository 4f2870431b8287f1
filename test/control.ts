import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import { createApp } from "../control/app.ts";
import { openDatabase, type Database } from "../control/db.ts";
import { connectEdge } from "../control/edge.ts";
import { startEdge, type EdgeStandIn } from "../control/edgeStandIn.ts";
import { createPublisher, type Publisher } from "../control/publish.ts";
import { saveAdminKey } from "../control/queries/keys.ts";
import { openVault } from "../control/secrets.ts";
import { keyDigest, newKey, pepperKey } from "../schema/key.ts";

/** A service's file, for tests that do not care what it says. */
export const yaml = "service: {model: m}\nrun: serve --port $PORT\n";
export const admin = newKey("fla");

/** Control's whole app on a database of each test's own, an edge that stands in for the real one, and a clock that the test sets. */
export interface ControlUnderTest {
  /** ms since the epoch. */
  now: number;
  folder: string;
  db: Database;
  edge: EdgeStandIn;
  publisher: Publisher;
  app: ReturnType<typeof createApp>;
}

/** Anew before each test of the file that calls it. */
export function controlUnderTest(): ControlUnderTest {
  const control = {} as ControlUnderTest;
  beforeEach(async () => {
    control.now = 1_000_000;
    control.folder = await mkdtemp(join(tmpdir(), "fairlead-control-"));
    const db = (control.db = await openDatabase(`file:${join(control.folder, "control.db")}`));
    control.edge = await startEdge("token");
    const pepper = await pepperKey("pepper");
    const vault = await openVault("a shared secret of some length");
    const clock = { now: () => control.now };
    await db.transact(async (rows) => saveAdminKey(rows, admin.id, await keyDigest(admin.key, pepper), control.now));
    const edge = connectEdge(control.edge.url, "token");
    const publisher = (control.publisher = createPublisher({ db, edge, vault, regions: ["local"], clock, random: () => 0, log: () => undefined }));
    control.app = createApp({ db, edge, publisher, vault, pepper, clock, regions: ["local"], publicUrl: "https://ai.example", fleetUrl: "http://fleet.example", log: () => undefined });
  });
  afterEach(async () => {
    control.publisher.close();
    await control.edge.close();
    control.db.close();
    await rm(control.folder, { recursive: true });
  });
  return control;
}

/** Calls with the admin key, unless others are given; each one's status and what it answered. */
export function caller(control: Pick<ControlUnderTest, "app">) {
  return async (method: string, path: string, body?: unknown, headers: Record<string, string> = { authorization: `Bearer ${admin.key}` }) => {
    const response = await control.app.request(path, { method, headers: { "content-type": "application/json", ...headers }, ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }) });
    // oxlint-disable-next-line typescript/no-explicit-any -- answers are looked at field by field
    return { status: response.status, body: (await response.json()) as any, headers: response.headers };
  };
}
