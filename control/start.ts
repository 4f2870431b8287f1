import { serve, type ServerType } from "@hono/node-server";
import { systemClock } from "../schema/clock.ts";
import { keyDigest, keyId, pepperKey } from "../schema/key.ts";
import { createApp } from "./app.ts";
import { openDatabase, type Database } from "./db.ts";
import { connectEdge } from "./edge.ts";
import type { Environment } from "./environment.ts";
import { createPublisher } from "./publish.ts";
import { adminKeyCount, saveAdminKey } from "./queries/keys.ts";
import { openVault } from "./secrets.ts";

export interface Control {
  /** Where it listens. */
  url: string;
  /** Answers nothing more, open log streams included, and lets go of the database. */
  close(): Promise<void>;
}

/**
 * How long an idle connection is kept: nginx's 75 s, longer than clients keep one. With Node's 5 s a client that is busy for a moment sends on
 * one that is closed already, and is told "fetch failed".
 */
const keepAliveMs = 75_000;

/** Start control as a server of this process, and publish what the database holds. @throws Error in words */
export async function startControl(environment: Environment, log: (line: string) => void = console.error): Promise<Control> {
  const pepper = await pepperKey(environment.FAIRLEAD_KEY_PEPPER);
  const vault = await openVault(environment.FAIRLEAD_SHARED_KEY);
  const db = await openDatabase(environment.FAIRLEAD_DATABASE_URL, environment.FAIRLEAD_DATABASE_TOKEN);
  try {
    await seedAdminKey(db, environment.FAIRLEAD_ADMIN_KEY, pepper);
    const regions = environment.FAIRLEAD_REGIONS;
    const edge = connectEdge(environment.FAIRLEAD_EDGE_URL, environment.FAIRLEAD_CONTROL_TOKEN);
    const publisher = createPublisher({ db, edge, vault, regions, clock: systemClock, log });
    const app = createApp({ db, edge, publisher, vault, pepper, clock: systemClock, regions, publicUrl: environment.FAIRLEAD_PUBLIC_URL, fleetUrl: environment.FAIRLEAD_FLEET_URL, log });
    const host = environment.FAIRLEAD_CONTROL_HOST;
    const { server, port } = await listen(app.fetch, host, environment.FAIRLEAD_CONTROL_PORT);
    publisher.changed();
    return {
      url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
      async close() {
        publisher.close();
        const closed = new Promise((resolve) => server.close(resolve));
        if ("closeAllConnections" in server) server.closeAllConnections();
        await closed;
        db.close();
      },
    };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** There is no default key: who starts control decides who may use it. */
async function seedAdminKey(db: Database, key: string | undefined, pepper: CryptoKey): Promise<void> {
  const id = key === undefined ? undefined : keyId(key, "fla");
  if (key !== undefined && id !== undefined) {
    const digest = await keyDigest(key, pepper);
    await db.transact((rows) => saveAdminKey(rows, id, digest, systemClock.now()));
  } else if ((await adminKeyCount(db.rows)) === 0) {
    throw new Error("Cannot start control: its database has no admin key; make one with fairlead keys admin, and start control with it as FAIRLEAD_ADMIN_KEY");
  }
}

function listen(fetch: (request: Request) => Response | Promise<Response>, hostname: string, port: number): Promise<{ server: ServerType; port: number }> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch, hostname, port, serverOptions: { keepAliveTimeout: keepAliveMs } }, (address) => resolve({ server, port: address.port }));
    server.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "the port is in use; FAIRLEAD_CONTROL_PORT chooses another" : error.message;
      reject(new Error(`Cannot start control: cannot listen on ${hostname} port ${port}: ${why}`, { cause: error }));
    });
  });
}
