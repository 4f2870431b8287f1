/** A proxy that the benchmark can put between the load and the upstream. One file each, in this folder. */
export interface Peer {
  name: string;
  /**
   * Makes sure the proxy is there, in a folder of its own below `cacheDir` when it must be fetched; bounded in time.
   * Answers with the version measured, or with the reason why this machine cannot have it.
   */
  install(cacheDir: string): Promise<Installed | Skipped>;
  /** Starts it and waits until it listens. Throws, or answers with the reason, when it cannot. Started once for each upstream. */
  start(options: StartOptions): Promise<Running | Skipped>;
}

export interface Installed {
  version: string;
}

export interface Skipped {
  skipped: string;
}

export interface StartOptions {
  /** Origin of the upstream, without a path: `http://127.0.0.1:PORT`. It serves /v1/chat/completions for the model "bench". */
  upstreamUrl: string;
  /** Free port of 127.0.0.1 to listen on. */
  port: number;
  /** Given only when memory is watched: port of 127.0.0.1 on which a peer in workerd opens its inspector. Others ignore it. */
  inspectorPort: number | undefined;
  /** Core to pin to (pass it to `launch`); undefined where cores cannot be pinned. */
  cpu: number | undefined;
  /** Empty folder for configuration and logs; removed at the end. */
  workDir: string;
  cacheDir: string;
}

export interface Running {
  /** Full URL of the chat completions endpoint of the proxy. */
  url: string;
  /** Headers of each request, with the Authorization that the proxy wants; content-type is added. */
  headers: Record<string, string>;
  /** Processes whose CPU and memory count, with everything below them; none for the upstream itself. */
  pids: number[];
  /** WebSocket URL of the inspector of the isolate under test (`ws://127.0.0.1:PORT/SERVICE` for workerd), when a port was given. */
  inspectorUrl?: string | undefined;
  stop(): Promise<void>;
}

export function isSkipped(value: object): value is Skipped {
  return "skipped" in value;
}

/** What a client of the benchmark sends where the proxy does not care. */
export const bearer = { authorization: "Bearer sk-bench-0123456789abcdef" };
