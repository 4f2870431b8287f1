import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openDatabase, type Database } from "./db.ts";
import { connectEdge } from "./edge.ts";
import { refuse, startEdge, take, type EdgeStandIn } from "./edgeStandIn.ts";
import { createPublisher, type Publisher } from "./publish.ts";
import { bundleVersion, raiseBundleVersion } from "./queries/bundle.ts";
import { addKey } from "./queries/keys.ts";
import { openVault } from "./secrets.ts";

let folder: string;
let db: Database;
let edge: EdgeStandIn;
let publisher: Publisher;
let lines: string[];

/** A publisher on a new database, with gaps between its attempts that are as short as they may be. */
async function open(url = edge.url): Promise<void> {
  const vault = await openVault("a shared secret of some length");
  publisher = createPublisher({ db, edge: connectEdge(url, "token"), vault, regions: ["local"], clock: { now: () => 1000 }, random: () => 0, log: (line) => lines.push(line) });
}

async function change(): Promise<number> {
  const version = await db.transact((rows) => raiseBundleVersion(rows));
  publisher.changed();
  return version;
}

beforeEach(async () => {
  lines = [];
  folder = await mkdtemp(join(tmpdir(), "fairlead-publish-"));
  db = await openDatabase(`file:${join(folder, "control.db")}`);
  edge = await startEdge("token");
  await open();
});

afterEach(async () => {
  publisher.close();
  await edge.close();
  db.close();
  await rm(folder, { recursive: true });
});

test("what changed reaches the edge, whole and numbered", async () => {
  await db.transact((rows) => addKey(rows, { id: "k", name: "n", digest: "0".repeat(64), account: "a", rights: ["inference"], services: null, createdAt: 1, expiresAt: null, revokedAt: null }));
  const version = await change();
  expect(await publisher.reached(version, 5000)).toEqual({ published: true });
  expect(edge.bundles.at(-1)?.route).toMatchObject({ version, publishedAt: 1000, keys: [{ id: "k" }] });
});

test("many changes at once are few publications, the last of them the latest state", async () => {
  const versions = await Promise.all(Array.from({ length: 20 }, change));
  const last = Math.max(...versions);
  await publisher.reached(last, 5000);
  expect(edge.bundles.at(-1)?.route.version).toBe(last);
  expect(edge.bundles.length).toBeLessThan(20);
});

test("an edge that remembers a later number is overtaken", async () => {
  edge.answers = [refuse(409, "stale_bundle", "old", { "x-fairlead-bundle-version": "41" }), take];
  const version = await change();
  expect(await publisher.reached(version, 5000)).toEqual({ published: true });
  expect(edge.bundles.map((bundle) => bundle.route.version)).toEqual([version, 42]);
  expect(await bundleVersion(db.rows)).toBe(42);
});

test("an edge that is away is tried again until it answers", async () => {
  edge.answers = [refuse(503, "internal", "away"), refuse(500, "internal", "still"), (_bundle, response) => response.destroy(), take];
  const version = await change();
  expect(await publisher.reached(version, 5000)).toEqual({ published: true });
  expect(edge.bundles).toHaveLength(4);
  expect(lines.join("\n")).toContain("will go on trying");
});

test("a bundle that the edge refuses is sent again only after the next change", async () => {
  edge.answers = [refuse(422, "invalid_bundle", "route.services: is bad"), take];
  expect(await publisher.reached(await change(), 5000)).toEqual({ published: false, refused: true, reason: "route.services: is bad" });
  expect(edge.bundles).toHaveLength(1);
  expect(await publisher.reached(await change(), 5000)).toEqual({ published: true });
});

test("who waits is told in time that the edge does not answer", async () => {
  publisher.close();
  await open("http://127.0.0.1:9");
  const { published, reason } = await publisher.reached(await change(), 300);
  expect(published).toBe(false);
  expect(reason).toContain("no answer from http://127.0.0.1:9");
});

test("who waits for an edge that takes its time is told so, also after one that did not", async () => {
  expect(await publisher.reached(await change(), 5_000)).toEqual({ published: true });
  edge.answers = [() => undefined];
  expect(await publisher.reached(await change(), 50)).toEqual({ published: false, reason: "the edge has not answered yet" });
});

test("a publisher that is closed lets its waiters go", async () => {
  publisher.close();
  await open("http://127.0.0.1:9");
  const waiting = publisher.reached(await change(), 60_000);
  publisher.close();
  expect((await waiting).published).toBe(false);
});
