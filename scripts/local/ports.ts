import { createServer } from "node:net";

/**
 * The port to use: the one asked for if it is free, or any free one for 0.
 *
 * @throws Error naming the port and the option when it is taken
 */
export function claimPort(port: number, option: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new Error(error.code === "EADDRINUSE" ? `Cannot listen on 127.0.0.1:${port}: the port is in use (choose another with ${option})` : `Cannot listen on 127.0.0.1:${port}: ${error.message}`));
    });
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : port));
    });
  });
}
