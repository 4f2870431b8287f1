import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import Docker from "dockerode";
import { afterAll, beforeAll, describe, test } from "vitest";
import { startRegistry, type Registry } from "./registry.ts";
import { dockerSuite } from "./suite.ts";

/**
 * The same suite against a real engine, without any download: the image is made of this machine's own static busybox (Debian:
 * busybox-static), and a registry of this process has another.
 */
const socket = process.env["FAIRLEAD_TEST_DOCKER"] ?? "/var/run/docker.sock";
const busybox = ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path) && isStatic(path));
const answers = await new Docker({ socketPath: socket }).ping().then(() => true, () => false);
const lack = !answers ? `no engine answers at ${socket} (FAIRLEAD_TEST_DOCKER names another)` : busybox === undefined ? "this machine has no static busybox to make an image of" : undefined;

if (lack !== undefined || busybox === undefined) {
  console.log(`skipped: ${lack}`);
  describe("dockerExecutor(), with a real engine", () => {
    test.skipIf(true)(`${lack}`, () => {});
  });
} else {
  const image = `fairlead-test:${process.pid}`;
  const docker = new Docker({ socketPath: socket });
  let registry: Registry;
  const pulled: string[] = [];

  beforeAll(async () => {
    const tar = await tarOf({});
    const imported = await docker.importImage(Readable.from(tar), { repo: image.split(":")[0], tag: image.split(":")[1] });
    for await (const _ of imported) continue;
    registry = await startRegistry(await Promise.all([0, 1, 2].map(async () => [tar, await tarOf({ fill: randomBytes(12 * 1024 * 1024) })])));
  });
  afterAll(async () => {
    for (const name of [image, ...pulled]) await docker.getImage(name).remove({ force: true }).catch(() => {});
    await registry.close();
  });

  dockerSuite("dockerExecutor(), with a real engine", () => ({
    socket,
    image,
    pullable() {
      const name = `${registry.address}/fairlead/app${pulled.length}:1`;
      pulled.push(name);
      return name;
    },
    serve: "mkdir -p /tmp/www; echo hello > /tmp/www/index.html; exec busybox httpd -f -p 0.0.0.0:$PORT -h /tmp/www",
    stubborn: "trap '' TERM; echo armed; while :; do sleep 0.05; done",
  }), "s=0123456789; while :; do s=$s$s; done");
}

/** A file system of busybox alone, and what else is given. */
async function tarOf(more: Record<string, Buffer>): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-image-"));
  try {
    for (const name of ["bin", "tmp", "etc"]) await mkdir(join(folder, name));
    await writeFile(join(folder, "bin/busybox"), readFileSync(busybox ?? ""), { mode: 0o755 });
    for (const name of ["sh", "cat", "echo", "sleep", "mkdir"]) await symlink("busybox", join(folder, "bin", name));
    for (const [name, bytes] of Object.entries(more)) await writeFile(join(folder, "etc", name), bytes);
    return execFileSync("tar", ["-C", folder, "-cf", "-", "."], { maxBuffer: 128 * 1024 * 1024 });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Whether a program needs no loader: its head would name one. */
function isStatic(path: string): boolean {
  return !readFileSync(path).subarray(0, 4096).includes("/ld-");
}
