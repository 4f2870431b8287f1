import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** Which end of a connection is told of its end; the other one is left to wait for bytes that do not come. */
export type Told = "both" | "near" | "far";

/** One connection through the proxy. */
export interface Through {
  /** The path of its first request. */
  path: string;
  /** Since when, ms since the epoch. */
  since: number;
  /** Bytes that came from the near end. */
  upBytes: number;
  /** Cut it, as a reset. */
  cut(told?: Told): void;
  /** Nothing gets through any more, and nobody is told. */
  hold(): void;
}

/** A TCP proxy for faults: whoever dials it is the near end, where it dials to is the far end. */
export class Proxy {
  readonly #server: Server;
  readonly #open = new Set<Through>();
  readonly #sockets = new Set<Socket>();
  /** Nobody gets through who is not through already. */
  refuses = false;
  /** Nobody who is not through already hears anything. */
  silent = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(farPort: number): Promise<Proxy> {
    const server = createServer();
    const proxy = new Proxy(server);
    server.on("connection", (near) => proxy.#carry(near, farPort));
    await once(server.listen(0, "127.0.0.1"), "listening");
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections that are open and have begun a request. */
  get open(): Through[] {
    return [...this.#open];
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #carry(near: Socket, farPort: number): void {
    if (this.refuses) return void near.resetAndDestroy();
    if (this.silent) {
      this.#sockets.add(near.on("error", () => undefined).resume());
      return;
    }
    const far = connect(farPort, "127.0.0.1");
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      // a cut is what these are for
      socket.on("error", () => undefined);
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    }
    const through: Through = {
      path: "", since: Date.now(), upBytes: 0,
      cut: (told = "both") => {
        this.#open.delete(through);
        near.unpipe();
        far.unpipe();
        if (told !== "far") near.resetAndDestroy();
        if (told !== "near") far.resetAndDestroy();
      },
      hold: () => {
        near.unpipe();
        far.unpipe();
      },
    };
    near.once("data", (first: Buffer) => {
      through.path = /^[A-Z]+ (\S+)/.exec(first.toString("latin1"))?.[1] ?? "";
      this.#open.add(through);
    });
    near.on("data", (bytes: Buffer) => (through.upBytes += bytes.byteLength));
    near.pipe(far);
    far.pipe(near);
    for (const [one, other] of [[near, far], [far, near]] as const) {
      one.once("close", () => {
        // not where it was cut so that the other end is not told
        if (this.#open.delete(through)) other.destroy();
      });
    }
  }
}
