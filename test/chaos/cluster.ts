import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startNode } from "../../scripts/local/part.ts";
import { claimPort, type Claim } from "../../scripts/local/ports.ts";
import { loadSecrets, type WorldSecrets } from "../../scripts/local/secrets.ts";
import { workerdCommand } from "../../scripts/local/workerd.ts";
import { builtWorkers, buildWorkers } from "../../scripts/local/workers.ts";
import { until, World } from "../e2e/world.ts";
import { Bucket } from "./bucket.ts";

const root = join(import.meta.dirname, "../..");

/** Clients and control ask `front`, which has no objects; `east` and `west` have those that they were first to be asked for. */
export type Place = "front" | "east" | "west";
const places: Place[] = ["front", "east", "west"];

interface Instance {
  routerPort: number;
  fleetPort: number;
  /** Where the others of the cluster reach it. */
  address: string;
  child: ChildProcess | undefined;
}

/**
 * Where agents dial: one connection in, one out to a workerd that lives. Data links of odd numbers go to `west`, everything else to
 * `east`, and where that one is gone, to the other.
 */
class Door {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(portOf: (path: string) => number): Promise<Door> {
    const server = createServer();
    const door = new Door(server);
    server.on("connection", (near) => {
      door.#keep(near);
      near.once("data", (first: Buffer) => {
        near.pause();
        const far = connect(portOf(/^[A-Z]+ (\S+)/.exec(first.toString("latin1"))?.[1] ?? ""), "127.0.0.1");
        door.#keep(far);
        far.write(first);
        near.pipe(far).pipe(near);
        near.once("close", () => far.destroy());
        far.once("close", () => near.destroy());
      });
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    return door;
  }

  #keep(socket: Socket): void {
    socket.setNoDelay(true);
    // ends of killed processes
    socket.on("error", () => undefined);
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

interface Parts {
  bucket: Bucket;
  instances: Map<Place, Instance>;
  door: Door;
}

/** Config.cluster of the pinned workerd: objects are spread over processes, each on one at a time, and taken over from one whose lease is over. */
function clusterOf(bucket: Bucket, { address }: Instance, key: string): string {
  const options = [`aws_endpoint=${bucket.url}`, "aws_region=auto", "aws_access_key_id=test", "aws_secret_access_key=test"];
  return `  cluster = (bucket = "s3://fleet/objects", bucketOptions = [${options.map((option) => JSON.stringify(option)).join(", ")}], address = "${address}", key = "${key}"),\n`;
}

/**
 * A Fairlead whose Durable Objects live in other processes than its router, as on Cloudflare: three workerd processes in one cluster,
 * control, and a door for agents. Any of the three can be killed and started again.
 */
export class Cluster extends World {
  readonly #parts: Parts;
  readonly #start: (place: Place) => void;

  private constructor(state: string, up: World["up"], control: ChildProcess, parts: Parts, start: (place: Place) => void) {
    super(state, up, control, () => readFileSync(join(state, "logs/control.log"), "utf8"));
    this.#parts = parts;
    this.#start = start;
  }

  static async create(): Promise<Cluster> {
    const state = mkdtempSync(join(tmpdir(), "fairlead-cluster-"));
    mkdirSync(join(state, "logs"));
    const secrets = loadSecrets(state);
    const workers = await buildWorkers(builtWorkers);
    const bucket = await Bucket.start();
    const key = randomBytes(32).toString("hex");
    const instances = new Map<Place, Instance>();
    const claims: Claim[] = [];
    const claim = async (): Promise<number> => {
      claims.push(await claimPort());
      return claims.at(-1)?.port ?? 0;
    };
    for (const place of places) instances.set(place, { routerPort: await claim(), fleetPort: await claim(), address: `127.0.0.1:${await claim()}`, child: undefined });
    const controlPort = await claim();
    const of = (place: Place): Instance => instances.get(place) as Instance;

    const start = (place: Place): void => {
      const { routerPort, fleetPort } = of(place);
      // an instance that comes again is a new one, with a disk of its own
      const folder = mkdtempSync(join(state, `${place}-`));
      const { command: [program, verb, file = ""], env } = workerdCommand({ workers, state: folder, routerPort, fleetPort, values: valuesOf(secrets) });
      writeFileSync(file, readFileSync(file, "utf8").replace("  sockets = [", `${clusterOf(bucket, of(place), key)}$&`));
      const output = openSync(join(state, `logs/${place}.log`), "a");
      of(place).child = spawn(program, [verb as string, "--experimental", file], { env, stdio: ["ignore", output, output] });
      closeSync(output);
    };
    const door = await Door.start((path) => {
      const alive = (["east", "west"] as const).filter((place) => isAlive(of(place).child));
      const place = /\/agents\/relay\/[^/]+\/\d*[13579]$/.test(path) ? "west" : "east";
      return of(alive.includes(place) ? place : (alive[0] ?? place)).fleetPort;
    });
    for (const { release } of claims) await release();
    for (const place of places) start(place);
    const urlOf = (place: Place): string => `http://127.0.0.1:${of(place).routerPort}`;
    for (const place of places) {
      await until(`${place}'s answer`, 60_000, async () => {
        // another's answer on its port would be taken for its own
        if (!isAlive(of(place).child)) throw new Error(readFileSync(join(state, `logs/${place}.log`), "utf8"));
        return (await fetch(`${urlOf(place)}/healthz`)).ok;
      });
    }
    // whoever is asked for an object first has it: the Hub, and what it asks for, is east's
    await fetch(`${urlOf("east")}/readyz`);

    const log = openSync(join(state, "logs/control.log"), "a");
    const control = startNode(join(root, "control/server.ts"), [], {
      ...valuesOf(secrets),
      FAIRLEAD_CONTROL_PORT: String(controlPort), FAIRLEAD_CONTROL_HOST: "127.0.0.1", FAIRLEAD_DATABASE_URL: `file:${join(state, "control.db")}`,
      FAIRLEAD_EDGE_URL: urlOf("front"), FAIRLEAD_PUBLIC_URL: urlOf("front"), FAIRLEAD_FLEET_URL: door.url, FAIRLEAD_ADMIN_KEY: secrets.adminKey,
    }, log, root);
    closeSync(log);
    const up = { endpoint: `${urlOf("front")}/v1`, apiKey: "", control: `http://127.0.0.1:${controlPort}`, adminKey: secrets.adminKey, metrics: `${urlOf("front")}/metrics`, pid: process.pid };
    const cluster = new Cluster(state, up, control, { bucket, instances, door }, start);
    await until("the first bundle", 60_000, async () => (await fetch(`${urlOf("front")}/readyz`)).ok);
    const { body } = await cluster.control("POST", "/v1/keys", { name: "test", rights: ["inference", "metrics"] });
    up.apiKey = String(body["key"]);
    return cluster;
  }

  override get fleet(): string {
    return this.#parts.door.url;
  }

  /** What a workerd's Workers have said. */
  logOf(place: Place): string {
    return readFileSync(join(this.state, `logs/${place}.log`), "utf8");
  }

  /** Durable Objects that are a workerd's, by the cluster's own records. */
  objectsOf(place: Place): number {
    const { bucket, instances } = this.#parts;
    const nodes = bucket.texts(/\/nodes\/\w+\.json$/).map((text) => JSON.parse(text) as { node: string; address: string });
    const own = new Set(nodes.filter(({ address }) => address === instances.get(place)?.address).map(({ node }) => node));
    return bucket.texts(/\/own\.json$/).filter((text) => own.has((JSON.parse(text) as { node: string }).node)).length;
  }

  /** kill -9. @returns when it is gone */
  async killPlace(place: Place): Promise<void> {
    const child = this.#parts.instances.get(place)?.child;
    if (!isAlive(child)) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** SIGSTOP: its sockets stay open, and nothing comes of them. */
  freezePlace(place: Place): void {
    this.#parts.instances.get(place)?.child?.kill("SIGSTOP");
  }

  /** SIGCONT: it goes on with all that has come for it meanwhile. */
  thawPlace(place: Place): void {
    this.#parts.instances.get(place)?.child?.kill("SIGCONT");
  }

  /** Another process in its place. */
  startPlace(place: Place): void {
    this.#start(place);
  }

  override async stop(options: { keep?: boolean } = {}): Promise<{ code: number | null; ms: number }> {
    await Promise.all(places.map((place) => this.killPlace(place)));
    await this.#parts.door.stop();
    await this.#parts.bucket.stop();
    return super.stop(options);
  }
}

function isAlive(child: ChildProcess | undefined): child is ChildProcess {
  return child !== undefined && child.exitCode === null && child.signalCode === null;
}

function valuesOf({ pepper, controlToken, sharedKey, ticketKey }: WorldSecrets): Record<string, string> {
  return { FAIRLEAD_REGIONS: "local", FAIRLEAD_LOCAL: "1", FAIRLEAD_KEY_PEPPER: pepper, FAIRLEAD_CONTROL_TOKEN: controlToken, FAIRLEAD_SHARED_KEY: sharedKey, FAIRLEAD_TICKET_KEY: ticketKey };
}
