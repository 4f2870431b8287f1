import { fileURLToPath } from "node:url";
import { createClient, LibsqlError, type ResultSet } from "@libsql/client";
import { drizzle } from "drizzle-orm/libsql";
import { migrate } from "drizzle-orm/libsql/migrator";
import type { BaseSQLiteDatabase } from "drizzle-orm/sqlite-core";

/** What queries run on: the database, or an open transaction. */
export type Rows = BaseSQLiteDatabase<"async", ResultSet>;

export interface Database {
  rows: Rows;
  /**
   * Run some work as one transaction; those of this process come one after another. (A local libsql transaction blocks the event
   * loop while another one holds the file, so two at once in one process would wait for each other.)
   */
  transact<T>(work: (rows: Rows) => Promise<T>): Promise<T>;
  close(): void;
}

/** SQLite's codes (sqlite.org/rescode.html) and libsql's for a database that is not to be had now, whatever was asked of it. */
const awayCodes = /^(SQLITE_(BUSY|LOCKED|IOERR|FULL|CANTOPEN|READONLY|PROTOCOL)|HRANA_(WEBSOCKET|CLOSED)_ERROR|SERVER_ERROR)/;

/** Whether an error says that the database cannot be had now: the same may go well later. Drizzle wraps what the client said. */
export function isAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof LibsqlError && awayCodes.test(error.code)) return true;
  // what `fetch` throws when a server cannot be reached (undici, and so libsql over HTTP)
  return (error instanceof TypeError && error.message === "fetch failed") || isAway(error.cause);
}

/**
 * Open control's database and bring its tables up to date.
 *
 * @param url `file:` for a local file, `libsql:` or `https:` for a server
 * @throws Error that names the database when it cannot be opened or migrated
 */
export async function openDatabase(url: string, token?: string): Promise<Database> {
  try {
    const client = createClient({ url, ...(token === undefined ? {} : { authToken: token }), timeout: 5_000 });
    // readers of a file go on while a change is written
    if (url.startsWith("file:")) await client.execute("PRAGMA journal_mode = WAL");
    const db = drizzle(client);
    await migrate(db, { migrationsFolder: fileURLToPath(new URL("./migrations", import.meta.url)) });
    let last: Promise<unknown> = Promise.resolve();
    return {
      rows: db,
      transact(work) {
        const next = last.then(() => db.transaction((transaction) => work(transaction))).catch(async (error: unknown) => {
          // A connection whose BEGIN came to nothing cannot commit any later transaction: "SQL statements in progress".
          // Reconnecting is asynchronous, whatever its type says.
          const reconnected: unknown = isAway(error) ? client.reconnect() : undefined;
          await reconnected;
          throw error;
        });
        last = next.catch(() => undefined);
        return next;
      },
      close: () => client.close(),
    };
  } catch (error) {
    throw new Error(`Cannot open database ${url}: ${(error as Error).message}`, { cause: error });
  }
}
