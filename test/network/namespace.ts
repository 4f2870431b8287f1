import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";

/** Why namespaces cannot be used on this machine; undefined: they can. */
export function noNamespaces(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  for (const tool of ["ip", "nft"]) if (spawnSync(tool, ["-V"]).error !== undefined) return `network faults need ${tool}`;
  const name = `fairlead-try-${process.pid}`;
  const made = spawnSync("ip", ["netns", "add", name]);
  spawnSync("ip", ["netns", "del", name]);
  return made.status === 0 ? undefined : `this machine makes no network namespaces: ${made.stderr.toString().trim()}`;
}

function run(program: string, args: string[], input = ""): void {
  const { status, stderr, error } = spawnSync(program, args, { input });
  if (status !== 0) throw new Error(`Cannot run ${program} ${args.join(" ")}: ${error?.message ?? stderr.toString()}`);
}

/**
 * A host of its own, as far as the network goes: a namespace with one link to this machine, through which the ports that are named can
 * be reached as if this machine's loopback were a server elsewhere. No connection can be opened to it.
 */
export class Namespace {
  readonly name: string;
  /** This machine, from within. */
  readonly outside: string;
  readonly inside: string;
  readonly #outer: string;

  constructor(ports: readonly number[]) {
    // two letters and eight digits: names of interfaces have fifteen characters
    const id = String(randomInt(10_000_000, 99_999_999));
    this.name = `fairlead-${id}`;
    this.#outer = `fl${id}`;
    const [a, b] = [randomInt(0, 255), randomInt(0, 64) * 4];
    this.outside = `10.213.${a}.${b + 1}`;
    this.inside = `10.213.${a}.${b + 2}`;
    try {
      run("ip", ["netns", "add", this.name]);
      run("ip", ["link", "add", this.#outer, "type", "veth", "peer", "name", "uplink", "netns", this.name]);
      run("ip", ["addr", "add", `${this.outside}/30`, "dev", this.#outer]);
      run("ip", ["link", "set", this.#outer, "up"]);
      for (const args of [["addr", "add", `${this.inside}/30`, "dev", "uplink"], ["link", "set", "uplink", "up"], ["link", "set", "lo", "up"], ["route", "add", "default", "via", this.outside]]) run("ip", ["-n", this.name, ...args]);
      run("sysctl", ["-qw", `net.ipv4.conf.${this.#outer}.route_localnet=1`]);
      const to = ports.map((port) => `iifname ${this.#outer} ip daddr ${this.outside} tcp dport ${port} dnat to 127.0.0.1:${port}`);
      run("nft", ["-f", "-"], `table ip ${this.name} {\n chain out {\n type nat hook prerouting priority dstnat;\n ${to.join("\n ")}\n }\n}\n`);
      this.#firewall("", "");
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** What a command is started by to run in it. */
  get within(): string[] {
    return ["ip", "netns", "exec", this.name];
  }

  /** No inbound connection, ever; and what else befalls packets that come and go. */
  #firewall(coming: string, going: string): void {
    run("ip", [...this.within.slice(1), "nft", "-f", "-"], `table inet fault
delete table inet fault
table inet fault {
  chain coming {
    type filter hook input priority 0; policy drop;
    iifname lo accept
    ${coming}
    ct state established,related accept
  }
  chain going {
    type filter hook output priority 0; policy accept;
    oifname lo accept
    ${going}
  }
}
`);
  }

  /** Nothing gets through any more, in the directions that are named. */
  cut(direction: "both ways" | "to the host" | "from the host"): void {
    this.#firewall(direction === "from the host" ? "" : "drop", direction === "to the host" ? "" : "drop");
  }

  /** So many packets of a hundred are lost, each way. */
  lose(percent: number): void {
    const rule = `numgen random mod 100 < ${percent} drop`;
    this.#firewall(rule, rule);
  }

  heal(): void {
    this.#firewall("", "");
  }

  /** Whatever of it there is, goes. */
  remove(): void {
    for (const [program, ...args] of [["nft", "delete", "table", "ip", this.name], ["ip", "netns", "del", this.name], ["ip", "link", "del", this.#outer]] as [string, ...string[]][]) spawnSync(program, args);
  }
}
