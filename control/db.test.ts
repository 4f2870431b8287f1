import { LibsqlError } from "@libsql/client";
import { expect, test } from "vitest";
import { isAway } from "./db.ts";

test.each<[string, unknown, boolean]>([
  ["a file that another process holds", new LibsqlError("database is locked", "SQLITE_BUSY"), true],
  ["a full disk", new LibsqlError("disk is full", "SQLITE_FULL"), true],
  ["a disk that fails", new LibsqlError("disk I/O error", "SQLITE_IOERR_WRITE"), true],
  ["a server that refuses the socket", new LibsqlError("connect ECONNREFUSED", "HRANA_WEBSOCKET_ERROR"), true],
  ["a server that cannot be reached", new TypeError("fetch failed"), true],
  ["what a query wraps", new Error("Failed query", { cause: new LibsqlError("database is locked", "SQLITE_BUSY") }), true],
  ["a constraint", new LibsqlError("UNIQUE constraint failed", "SQLITE_CONSTRAINT"), false],
  ["a mistake of ours", new TypeError("x is not a function"), false],
  ["no error at all", undefined, false],
])("isAway: %s", (_, error, expected) => {
  expect(isAway(error)).toBe(expected);
});
