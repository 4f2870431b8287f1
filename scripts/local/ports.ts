import { createServer, type AddressInfo } from "node:net";

/** A port that nobody else gets until it is let go, which is just before whoever is to listen on it begins. */
export interface Claim {
  port: number;
  release: () => Promise<void>;
}

/**
 * The port to use: the one asked for if it is free, or any free one for 0.
 *
 * @throws Error naming the port and the option when it is taken
 */
export function claimPort(port = 0, option = ""): Promise<Claim> {
  return new Promise((resolve, reject) => {
    // whoever asks there before its time finds nobody, as on a port that is free
    const server = createServer((early) => early.resetAndDestroy());
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new Error(error.code === "EADDRINUSE" ? `Cannot listen on 127.0.0.1:${port}: the port is in use (choose another with ${option})` : `Cannot listen on 127.0.0.1:${port}: ${error.message}`));
    });
    server.listen(port, "127.0.0.1", () => {
      resolve({ port: (server.address() as AddressInfo).port, release: () => new Promise((released) => server.close(() => released())) });
    });
  });
}
