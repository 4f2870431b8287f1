import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findConnection } from "./connection.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-connection-"));
});
afterAll(() => rm(folder, { recursive: true }));

const find = (given: string | undefined, environment: Record<string, string>) => findConnection(given, { environment, cwd: folder, home: folder });

test.each([
  ["a slash at its end", "http://a.example:8788/", "http://a.example:8788"],
  ["a path, where control is behind one", "https://a.example/control", "https://a.example/control"],
])("findConnection() takes a URL with %s", async (_name, given, control) => {
  expect(await find(given, { FAIRLEAD_ADMIN_KEY: "fla_x" })).toEqual({ control, adminKey: "fla_x" });
});

test("findConnection() takes a key with the line break of the file that it came from", async () => {
  expect(await find("http://a.example", { FAIRLEAD_ADMIN_KEY: " fla_x\r\n" })).toMatchObject({ adminKey: "fla_x" });
});

test.each([
  ["a host without a scheme", "localhost:8788", "fla_x", 'Cannot use control "localhost:8788": it is not an http:// or https:// URL'],
  ["another scheme", "ftp://a.example", "fla_x", 'Cannot use control "ftp://a.example": it is not an http:// or https:// URL'],
  ["no URL", "here", "fla_x", 'Cannot use control "here": it is not an http:// or https:// URL'],
  ["a query", "http://a.example/?x=1", "fla_x", 'Cannot use control "http://a.example/?x=1": leave out what begins with ? or #'],
  ["two keys, which it does not repeat", "http://a.example", "fla_x\nfla_y", "Cannot use control at http://a.example: the admin key holds a space or a line break"],
])("findConnection() refuses %s", async (_name, given, key, message) => {
  await expect(find(given, { FAIRLEAD_ADMIN_KEY: key })).rejects.toMatchObject({ message, exitCode: 2 });
});
