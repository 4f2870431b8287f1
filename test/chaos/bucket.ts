import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

interface Stored {
  bytes: Buffer;
  etag: string;
  at: Date;
}

interface Answer {
  status: number;
  headers?: Record<string, string>;
  bytes?: Buffer;
}

/**
 * As much of S3 as workerd's cluster mode uses (`ClusterConfig` in its `workerd.capnp`): objects with conditional writes, ranges and
 * lists. In memory; who asks is not looked at.
 */
export class Bucket {
  readonly #server: Server;
  readonly #objects = new Map<string, Stored>();
  #writes = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<Bucket> {
    const server = createServer();
    const bucket = new Bucket(server);
    server.on("request", (request, response) => {
      void (async () => {
        const { status, headers, bytes } = bucket.#answer(request.method ?? "", new URL(request.url ?? "/", "http://bucket"), request.headers, await buffer(request));
        response.writeHead(status, { "content-length": bytes?.byteLength ?? 0, ...headers }).end(request.method === "HEAD" ? undefined : bytes);
      })();
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    return bucket;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The texts of all objects whose keys are so. */
  texts(keys: RegExp): string[] {
    return [...this.#objects].filter(([key]) => keys.test(key)).map(([, { bytes }]) => bytes.toString());
  }

  #answer(method: string, url: URL, headers: IncomingHttpHeaders, sent: Buffer): Answer {
    const key = decodeURIComponent(url.pathname);
    const stored = this.#objects.get(key);
    const { "if-match": match, "if-none-match": noneMatch } = headers;
    if (method === "PUT" || method === "DELETE") {
      if (noneMatch === "*" && stored !== undefined) return { status: 412 };
      if (match !== undefined && stored?.etag !== match) return { status: stored === undefined ? 404 : 412 };
      if (method === "DELETE") {
        this.#objects.delete(key);
        return { status: 204 };
      }
      const etag = `"${(this.#writes++).toString(16).padStart(32, "0")}"`;
      this.#objects.set(key, { bytes: sent, etag, at: new Date() });
      return { status: 200, headers: { etag } };
    }
    if (url.searchParams.has("list-type")) return this.#list(key, url.searchParams);
    if (stored === undefined) return { status: 404, headers: { "content-type": "application/xml" }, bytes: Buffer.from("<Error><Code>NoSuchKey</Code></Error>") };
    const told = { etag: stored.etag, "last-modified": stored.at.toUTCString() };
    const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
    if (range === null) return { status: 200, headers: told, bytes: stored.bytes };
    const from = Number(range[1]);
    const bytes = stored.bytes.subarray(from, range[2] === "" ? undefined : Number(range[2]) + 1);
    return { status: 206, headers: { ...told, "content-range": `bytes ${from}-${from + bytes.byteLength - 1}/${stored.bytes.byteLength}` }, bytes };
  }

  /** One page of all: a world of a test has less than a thousand objects. */
  #list(root: string, query: URLSearchParams): Answer {
    const prefix = query.get("prefix") ?? "";
    const delimiter = query.get("delimiter") ?? "";
    const after = query.get("start-after") ?? "";
    const folders = new Set<string>();
    const rows: string[] = [];
    for (const [path, { bytes, etag, at }] of [...this.#objects].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const key = path.slice(root.length);
      if (!path.startsWith(root) || !key.startsWith(prefix) || (after !== "" && key <= after)) continue;
      const end = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
      if (end === -1) rows.push(`<Contents><Key>${key}</Key><LastModified>${at.toISOString()}</LastModified><ETag>${etag.replaceAll('"', "&quot;")}</ETag><Size>${bytes.byteLength}</Size></Contents>`);
      else folders.add(`<CommonPrefixes><Prefix>${key.slice(0, end + delimiter.length)}</Prefix></CommonPrefixes>`);
    }
    const xml = `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Prefix>${prefix}</Prefix><KeyCount>${rows.length + folders.size}</KeyCount><IsTruncated>false</IsTruncated>${rows.join("")}${[...folders].join("")}</ListBucketResult>`;
    return { status: 200, headers: { "content-type": "application/xml" }, bytes: Buffer.from(xml) };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
