import { parseArgs } from "node:util";
import { resolve } from "node:path";

export interface UpOptions {
  files: string[];
  port: number;
  controlPort: number;
  fleetPort: number;
  example: boolean;
  state: string;
}

export const help = `Start the whole of Fairlead on this machine: both Workers in workerd, the control API, one agent, and a service.

Usage: scripts/up [--file SERVICE.yaml]… [--port 8787] [--control-port 8788] [--fleet-port 8789] [--no-example] [--state DIR]

  --file FILE          apply this service instead of examples/hello.yaml (may be repeated)
  --port N             the router: one OpenAI-compatible URL (default 8787; 0 picks a free one)
  --control-port N     the control API (default 8788)
  --fleet-port N       where agents dial in (default 8789)
  --no-example         apply nothing
  --state DIR          keys, database and logs (default .fairlead); starting again continues with it
  -h, --help           this text

Examples:
  scripts/up
  scripts/up --file examples/http-server.yaml
  scripts/up --no-example --port 9000 --state /tmp/world

Runs in the foreground; Ctrl-C stops everything it started.
`;

function port(name: string, text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 65535) throw new Error(`Cannot use --${name} ${text}: it is not a port (0 to 65535)`);
  return value;
}

/** @throws Error for an unknown option or a value that makes no sense */
export function readOptions(args: string[]): UpOptions | "help" {
  const { values } = parseArgs({
    args,
    options: {
      file: { type: "string", multiple: true, default: [] },
      port: { type: "string", default: "8787" },
      "control-port": { type: "string", default: "8788" },
      "fleet-port": { type: "string", default: "8789" },
      "no-example": { type: "boolean", default: false },
      state: { type: "string", default: ".fairlead" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return "help";
  return {
    files: values.file.map((file) => resolve(file)),
    port: port("port", values.port),
    controlPort: port("control-port", values["control-port"]),
    fleetPort: port("fleet-port", values["fleet-port"]),
    example: !values["no-example"],
    state: resolve(values.state),
  };
}
