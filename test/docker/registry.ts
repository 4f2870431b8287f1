import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { gzipSync } from "node:zlib";

/** A registry of images `fairlead/app0`, `fairlead/app1` and so on, under every tag; slow enough that a pull is seen. */
export interface Registry {
  /** Where an engine of this machine finds it: one on loopback needs no TLS. */
  address: string;
  close(): Promise<void>;
}

const types = { manifest: "application/vnd.docker.distribution.manifest.v2+json", config: "application/vnd.docker.container.image.v1+json", layer: "application/vnd.docker.image.rootfs.diff.tar.gzip" };
const partBytes = 256 * 1024;
const partMs = 50;

/** @param images each as its layers, tar files, the lowest first */
export async function startRegistry(images: readonly (readonly Buffer[])[]): Promise<Registry> {
  const blobs = new Map<string, Buffer>();
  const digest = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  const keep = (bytes: Buffer, mediaType: string): object => {
    blobs.set(digest(bytes), bytes);
    return { mediaType, size: bytes.length, digest: digest(bytes) };
  };
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  const manifests = images.map((layers) => {
    const config = keep(Buffer.from(JSON.stringify({ architecture, os: "linux", config: {}, rootfs: { type: "layers", diff_ids: layers.map(digest) } })), types.config);
    return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: types.manifest, config, layers: layers.map((layer) => keep(gzipSync(layer, { level: 1 }), types.layer)) }));
  });

  const server = createServer((request, response) => {
    const [, image = "", kind, name = ""] = /^\/v2\/fairlead\/app(\d+)\/(manifests|blobs)\/(.+)$/.exec(request.url ?? "") ?? [];
    const manifest = manifests[Number(image)];
    const send = async (type: string, bytes: Buffer): Promise<void> => {
      response.writeHead(200, { "content-type": type, "content-length": bytes.length, "docker-content-digest": digest(bytes) });
      for (let at = 0; request.method === "GET" && at < bytes.length && !response.destroyed; at += partBytes) {
        response.write(bytes.subarray(at, at + partBytes));
        if (at + partBytes < bytes.length) await wait(partMs);
      }
      response.end();
    };
    const blob = blobs.get(name);
    if (request.url === "/v2/") response.end("{}");
    else if (kind === "manifests" && manifest) void send(types.manifest, manifest);
    else if (kind === "blobs" && blob) void send("application/octet-stream", blob);
    else response.writeHead(404, { "content-type": "application/json" }).end(JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown" }] }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
