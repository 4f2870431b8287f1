import { createHash } from "node:crypto";
import { connect, createServer } from "node:net";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Holds a state folder for this process: a second agent there would end the first one's replicas as strays. The lock is a
 * listening socket, which the system lets go of however the process ends.
 *
 * @returns false when another process holds it
 */
export async function holdState(state: string): Promise<boolean> {
  const name = `fairlead-agent-${createHash("sha256").update(state).digest("hex").slice(0, 32)}`;
  // Linux has names without files; elsewhere a file may be left by an agent that was killed
  if (process.platform === "linux") return listen(`\0${name}`);
  const path = join(tmpdir(), `${name}.sock`);
  if (await answers(path)) return false;
  await rm(path, { force: true });
  return listen(path);
}

function listen(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once("error", (error) => ("code" in error && error.code === "EADDRINUSE" ? resolve(false) : reject(error)));
    server.listen(path, () => resolve(true));
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
