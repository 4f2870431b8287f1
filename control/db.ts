import { fileURLToPath } from "node:url";
import { createClient, type ResultSet } from "@libsql/client";
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
        const next = last.then(() => db.transaction((transaction) => work(transaction)));
        last = next.catch(() => undefined);
        return next;
      },
      close: () => client.close(),
    };
  } catch (error) {
    throw new Error(`Cannot open database ${url}: ${(error as Error).message}`, { cause: error });
  }
}
