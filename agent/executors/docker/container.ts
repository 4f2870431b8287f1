import type { ContainerCreateOptions } from "dockerode";
import type { Gpu } from "../../gpu.ts";
import type { DockerConfig } from "../config.ts";
import type { Limits } from "../limits.ts";

export interface ContainerOptions {
  image: string;
  setup: string | undefined;
  run: string;
  environment: Readonly<Record<string, string>>;
  labels: Readonly<Record<string, string>>;
  /** The port it listens on in its own network, and the one on this host's loopback that leads there. */
  port: { inside: number; outside: number };
  gpus: readonly Gpu[];
  /** Whose GPUs the host has. */
  vendor: Gpu["vendor"] | undefined;
  mounts: readonly Mount[];
  workdir: string | undefined;
  limits: Limits;
  /** The host's. */
  memoryBytes: number;
  config: Pick<DockerConfig, "runtime" | "network" | "user">;
}

export interface Mount {
  source: string;
  target: string;
  writable: boolean;
}

/** Processes and threads where nothing else is said: several times what an engine on eight GPUs has, far below what a kernel can (4,194,304). */
const pidsMax = 16_384;
/** The log that the engine keeps besides the agent's own: enough to read again what came while the agent could not. */
const engineLog = { "max-size": "8m", "max-file": "1" };

/**
 * The first process of a container: `setup` at its first start, `run` at every later one, so that what setup installed is there.
 * As the first process it passes SIGTERM on, which the kernel would keep from it.
 */
const keeper = `
shell=$(command -v bash || echo sh)
done=\${TMPDIR:-/tmp}/.fairlead-setup
script=$2
[ -z "$1" ] || [ -e "$done" ] || script=$1
trap 'trap : TERM; kill -s TERM 0' TERM
"$shell" -c "$script" &
child=$!
wait "$child"
status=$?
while kill -0 "$child" 2>/dev/null; do
  wait "$child"
  status=$?
done
[ "$script" != "$1" ] || [ "$status" != 0 ] || : > "$done"
exit "$status"
`;

/**
 * What an engine is asked for: a container that has its own GPUs and folders and nothing else of the host. No capabilities, no
 * way to gain privileges, bounds on memory and processes, a port on loopback only (facts/failures.md §4, 8).
 */
export function containerOf(options: ContainerOptions): ContainerCreateOptions {
  const { image, setup = "", run, environment, labels, port, gpus, vendor, mounts, workdir, limits, memoryBytes, config } = options;
  const ownNetwork = config.network !== "host";
  const exposed = `${port.inside}/tcp`;
  return {
    Image: image,
    Entrypoint: ["/bin/sh", "-c", keeper, "fairlead"],
    Cmd: [setup, run],
    Env: Object.entries({ ...environment, ...deviceEnvironment(gpus, vendor) }).map(([name, value]) => `${name}=${value}`),
    Labels: { ...labels },
    ...(workdir === undefined ? {} : { WorkingDir: workdir }),
    ...(config.user === undefined ? {} : { User: config.user }),
    ...(ownNetwork ? { ExposedPorts: { [exposed]: {} } } : {}),
    HostConfig: {
      NetworkMode: config.network,
      ...(ownNetwork ? { PortBindings: { [exposed]: [{ HostIp: "127.0.0.1", HostPort: String(port.outside) }] } } : {}),
      Mounts: mounts.map(({ source, target, writable }) => ({ Type: "bind", Source: source, Target: target, ReadOnly: !writable, BindOptions: { Propagation: "rprivate" } })),
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      PidsLimit: limits.pids ?? pidsMax,
      // without swap: an engine that swaps serves nobody
      ...(limits.memoryBytes === undefined ? {} : { Memory: limits.memoryBytes, MemorySwap: limits.memoryBytes }),
      ...(limits.cpus === undefined ? {} : { NanoCpus: Math.round(limits.cpus * 1e9) }),
      IpcMode: "private",
      // NCCL and data loaders need more than the 64 MiB that engines give; this is what a host's own /dev/shm may hold (tmpfs(5): half of the memory)
      ShmSize: Math.floor((limits.memoryBytes ?? memoryBytes) / 2),
      // as agent/executors/keeper.sh: a replica goes before the agent
      OomScoreAdj: 500,
      RestartPolicy: { Name: "no" },
      LogConfig: { Type: "json-file", Config: engineLog },
      ...(config.runtime === undefined ? {} : { Runtime: config.runtime }),
      ...devices(gpus, vendor),
    },
  };
}

function devices(gpus: readonly Gpu[], vendor: Gpu["vendor"] | undefined): NonNullable<ContainerCreateOptions["HostConfig"]> {
  if (gpus.length === 0) return {};
  switch (vendor) {
    // memory that GPUs read by themselves is locked (NVIDIA: "Running with Docker", ulimit memlock=-1)
    case "nvidia": return { DeviceRequests: [{ Driver: "nvidia", DeviceIDs: gpus.map(({ uuid }) => uuid), Capabilities: [["gpu"]] }], Ulimits: [{ Name: "memlock", Soft: -1, Hard: -1 }] };
    // ROCm's containers see all devices; the variable below says which are theirs (AMD: "Running ROCm Docker containers")
    case "amd": return { Devices: ["/dev/kfd", "/dev/dri"].map((path) => ({ PathOnHost: path, PathInContainer: path, CgroupPermissions: "rwm" })), GroupAdd: ["video", "render"] };
    case undefined: return {};
  }
}

function deviceEnvironment(gpus: readonly Gpu[], vendor: Gpu["vendor"] | undefined): Record<string, string> {
  switch (vendor) {
    // an engine whose default runtime is NVIDIA's gives all GPUs to images that ask for them, as most do
    case "nvidia": return { NVIDIA_VISIBLE_DEVICES: gpus.length === 0 ? "void" : gpus.map(({ uuid }) => uuid).join(",") };
    case "amd": return { HIP_VISIBLE_DEVICES: gpus.length === 0 ? "-1" : gpus.map(({ index }) => index).join(",") };
    case undefined: return {};
  }
}
