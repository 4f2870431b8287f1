import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Random } from "../../schema/clock.ts";
import { StartError } from "../executor.ts";
import type { Gpu } from "../gpu.ts";

/** What a replica has to itself while it runs. */
export interface Place {
  port: number;
  gpus: Gpu[];
}

export interface PlaceWish {
  gpus: number;
  /** The port that it insists on. */
  fixedPort?: number | undefined;
}

export interface Places {
  /** @throws StartError that says what is not free */
  take(id: string, wish: PlaceWish): Promise<Place>;
  /** The very place that it had; undefined when any of it is not free. */
  takeAgain(id: string, place: Place): Promise<Place | undefined>;
  give(id: string): void;
  /** The replicas that have a place. */
  holders(): Set<string>;
  /** All of the host's GPUs, as of a minute ago at most. */
  gpus(): Promise<Gpu[]>;
  vendor(): Promise<Gpu["vendor"] | undefined>;
}

export interface PlacesOptions {
  listGpus: () => Promise<Gpu[]>;
  random?: Random;
  /** Ports to choose from, the second not among them. */
  ports?: readonly [from: number, to: number];
}

/** How long a list of GPUs is good for: to list them keeps the driver busy for seconds where nothing keeps it loaded. */
const listedMs = 60_000;
/** Ports below those that the system gives to outgoing connections, which would take one between its choice and its use. */
const portsChosen = 10_000;
/** Linux's own, where it cannot be asked (ip-sysctl: ip_local_port_range). */
const outgoingFrom = 32_768;
/** Tries of a free port before the system is asked for one. */
const triesMax = 50;

/** Hands out a host's ports and GPUs: nothing twice, and no port that somebody else listens on. */
export function keepPlaces({ listGpus, random = Math.random, ports = choosable() }: PlacesOptions): Places {
  const portOf = new Map<number, string>();
  const gpuOf = new Map<string, string>();
  /** The last list that was not empty: a driver that is busy for a moment takes no GPUs from their replicas. */
  let known: Gpu[] = [];
  let knownAt = Number.NEGATIVE_INFINITY;

  async function list(): Promise<Gpu[]> {
    const listed = await listGpus();
    knownAt = performance.now();
    if (listed.length > 0) known = listed;
    return known;
  }

  async function gpus(): Promise<Gpu[]> {
    return performance.now() - knownAt < listedMs ? known : list();
  }

  async function choosePort(id: string): Promise<number> {
    for (let tries = 0; ; tries++) {
      const port = tries < triesMax ? ports[0] + Math.floor(random() * (ports[1] - ports[0])) : await listenOnce(0);
      if (portOf.has(port)) continue;
      // held before it is tried: two starts at a time must not try the same
      portOf.set(port, id);
      if (await listenOnce(port).then(() => true, () => false)) return port;
      portOf.delete(port);
    }
  }

  async function takePort(id: string, port: number): Promise<number> {
    const other = portOf.get(port);
    if (other !== undefined) throw new StartError(`port ${port} is in use by replica ${other}`, { wait: true });
    portOf.set(port, id);
    try {
      return await listenOnce(port);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code === "EADDRINUSE") throw new StartError(`port ${port} is in use by another program on this host`, { wait: true });
      throw new StartError(`port ${port} cannot be used: ${String(code ?? error)}`);
    }
  }

  async function takeGpus(id: string, count: number): Promise<Gpu[]> {
    if (count === 0) return [];
    const all = await list();
    const free = all.filter(({ uuid }) => !gpuOf.has(uuid));
    if (free.length < count) {
      const holders = [...new Set(all.flatMap(({ uuid }) => gpuOf.get(uuid) ?? []))];
      if (all.length === 0) throw new StartError(`it needs ${inWords(count)}, and this host has none`, { wait: true });
      const used = holders.length === 0 ? "" : `; ${holders.slice(0, 3).join(", ")}${holders.length > 3 ? ` and ${holders.length - 3} more` : ""} ${holders.length === 1 ? "has" : "have"} the others`;
      throw new StartError(`it needs ${inWords(count)}, and of this host's ${all.length} ${free.length === 1 ? "one is" : `${free.length === 0 ? "none" : free.length} are`} free${used}`, { wait: true });
    }
    const taken = free.slice(0, count);
    for (const { uuid } of taken) gpuOf.set(uuid, id);
    return taken;
  }

  function give(id: string): void {
    for (const [port, holder] of portOf) if (holder === id) portOf.delete(port);
    for (const [uuid, holder] of gpuOf) if (holder === id) gpuOf.delete(uuid);
  }

  return {
    async take(id, { gpus: count, fixedPort }) {
      try {
        const mine = await takeGpus(id, count);
        return { gpus: mine, port: fixedPort === undefined ? await choosePort(id) : await takePort(id, fixedPort) };
      } catch (error) {
        give(id);
        throw error;
      }
    },
    async takeAgain(id, place) {
      if (portOf.has(place.port) || place.gpus.some(({ uuid }) => gpuOf.has(uuid))) return undefined;
      for (const { uuid } of place.gpus) gpuOf.set(uuid, id);
      try {
        await takePort(id, place.port);
        return place;
      } catch {
        give(id);
        return undefined;
      }
    },
    give,
    holders: () => new Set(portOf.values()),
    gpus,
    async vendor() {
      return (await gpus())[0]?.vendor;
    },
  };
}

function inWords(gpus: number): string {
  return gpus === 1 ? "one GPU" : `${gpus} GPUs`;
}

function choosable(): readonly [number, number] {
  let from = outgoingFrom;
  try {
    from = Number.parseInt(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "latin1"), 10) || from;
  } catch {
    // not Linux
  }
  return from - portsChosen > 1024 ? [from - portsChosen, from] : [1024, Math.max(from, 2048)];
}

/** Listens on a port and lets it go: proof that nobody has it, on loopback or on all addresses. @returns the port, chosen by the system for 0 */
async function listenOnce(port: number): Promise<number> {
  const loopback = await listenAt("127.0.0.1", port);
  return listenAt("0.0.0.0", loopback);
}

function listenAt(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen({ port, host, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : port));
    });
  });
}
