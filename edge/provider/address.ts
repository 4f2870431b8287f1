/** Where API servers listen. */
const usualPorts = new Set([443, 8443]);

/** Names that lead into somebody's own network, or to the machine itself. */
const innerNames = /(^|\.)(localhost|local|localdomain|internal|intranet|lan|corp|home|private|home\.arpa)$/;

interface Range {
  name: string;
  /** Leading bits of an address, and how many of them count. */
  prefix: readonly number[];
  bits: number;
  /** No operator can mean this one. */
  never?: boolean;
}

/** Ranges with a purpose of their own, from IANA's special-purpose registries. */
const ipv4Ranges: readonly Range[] = [
  { name: "an unspecified address", prefix: [0], bits: 8, never: true },
  { name: "a loopback address", prefix: [127], bits: 8 },
  { name: "a private address", prefix: [10], bits: 8 },
  { name: "a private address", prefix: [172, 16], bits: 12 },
  { name: "a private address", prefix: [192, 168], bits: 16 },
  { name: "a shared address", prefix: [100, 64], bits: 10 },
  { name: "a link-local address", prefix: [169, 254], bits: 16, never: true },
  { name: "a multicast address", prefix: [224], bits: 4, never: true },
  { name: "a reserved address", prefix: [240], bits: 4, never: true },
];

const ipv6Ranges: readonly Range[] = [
  { name: "a unique local address", prefix: [0xfc], bits: 7 },
  { name: "a link-local address", prefix: [0xfe, 0x80], bits: 10, never: true },
  { name: "a multicast address", prefix: [0xff], bits: 8, never: true },
];

/** Prefixes of IPv6 that hold an IPv4 address, and where: mapped, compatible, NAT64 (both of its prefixes), 6to4. */
const embeddings: readonly { prefix: readonly number[]; at: number; mapped?: boolean }[] = [
  { prefix: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff], at: 12, mapped: true },
  { prefix: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], at: 12 },
  { prefix: [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0], at: 12 },
  { prefix: [0, 0x64, 0xff, 0x9b, 0, 1], at: 12 },
  { prefix: [0x20, 0x02], at: 2 },
];

function within(bytes: readonly number[], { prefix, bits }: Range): boolean {
  for (let bit = 0; bit < bits; bit++) {
    const mask = 0x80 >> (bit % 8);
    if (((bytes[bit >> 3] ?? 0) & mask) !== ((prefix[bit >> 3] ?? 0) & mask)) return false;
  }
  return true;
}

/** The bytes of an IPv6 address as `URL` writes it. */
function ipv6Bytes(text: string): number[] {
  const [head = "", tail] = text.split("::");
  const groups = (part: string): number[] => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
  return all.flatMap((group) => [group >> 8, group & 0xff]);
}

/** What an IP address is, and whether the machine itself; undefined for a name. `hostname` is as `URL` writes it. */
function addressOf(hostname: string): { name: string; loopback: boolean; never: boolean } | undefined {
  let bytes: number[];
  /** Whether the system takes it for the IPv4 address itself. */
  let mapped = true;
  if (hostname.startsWith("[")) {
    bytes = ipv6Bytes(hostname.slice(1, -1));
    if (bytes.every((byte, i) => byte === (i === 15 ? 1 : 0))) return { name: "a loopback address", loopback: true, never: false };
    const range = ipv6Ranges.find((candidate) => within(bytes, candidate));
    if (range !== undefined) return { name: range.name, loopback: false, never: range.never === true };
    const embedding = embeddings.find(({ prefix }) => prefix.every((byte, i) => bytes[i] === byte));
    if (embedding === undefined) return { name: "an IP address", loopback: false, never: false };
    bytes = bytes.slice(embedding.at, embedding.at + 4);
    mapped = embedding.mapped === true;
  } else {
    if (!/^\d+(\.\d+){3}$/.test(hostname)) return undefined;
    bytes = hostname.split(".").map(Number);
  }
  const range = ipv4Ranges.find((candidate) => within(bytes, candidate));
  return { name: range?.name ?? "an IP address", loopback: mapped && range?.name === "a loopback address", never: range?.never === true };
}

interface Allowed {
  protocol: string | undefined;
  hostname: string;
  /** Absent when the entry names none: then any. */
  port: string | undefined;
}

/** An operator's entry: a host, `host:port`, or an origin, which allows http when it says so. */
function allowedOf(entry: string): Allowed | undefined {
  const url = URL.parse(entry.includes("://") ? entry : `https://${entry}`);
  if (url === null) return undefined;
  const origin = entry.includes("://");
  const named = origin || url.port !== "" || entry.endsWith(":443");
  return { protocol: origin ? url.protocol : undefined, hostname: bare(url.hostname), port: named ? portOf(url) : undefined };
}

const bare = (hostname: string): string => hostname.replace(/\.+$/, "");

function portOf({ port, protocol }: URL): string {
  return port === "" ? (protocol === "http:" ? "80" : "443") : port;
}

/**
 * Why an endpoint may not be called; undefined when it may.
 *
 * It is about what is written: a name that resolves to an inner address is the network's matter (a Worker has no inner network to
 * reach). Whoever calls must parse with the same parser, `URL`, and follow no redirect. (facts/failures.md section 4, 14)
 *
 * @param local a world on one machine: its own addresses may be called, by http too, on any port
 * @param allowed what an operator grants beside: `host`, `host:port` or `scheme://host:port`
 */
export function refusedAddress(endpoint: string, { local, allowed = [] }: { local: boolean; allowed?: readonly string[] }): string | undefined {
  const url = URL.parse(endpoint);
  if (url === null) return "it is no URL";
  if (url.protocol !== "https:" && url.protocol !== "http:") return "it is not https";
  if (url.username !== "" || url.password !== "" || /^\w+:[/\\]*[^/\\?#]*@/.test(endpoint)) return "it holds a user name or a password";

  const hostname = bare(url.hostname);
  const address = addressOf(hostname);
  const port = portOf(url);
  if (address?.never === true) return `${hostname} is ${address.name}`;
  const grants = allowed.map(allowedOf).filter((entry) => entry !== undefined && entry.hostname === hostname && (entry.port ?? port) === port);
  const secure = url.protocol === "https:";
  if (grants.some((grant) => secure || grant?.protocol === "http:")) return usualPorts.has(Number(port)) || Number(port) > 1023 || grants.some((grant) => grant?.port === port) ? undefined : `its port ${port} is not one for this`;
  if (local && (address?.loopback === true || /(^|\.)localhost$/.test(hostname))) return undefined;

  if (!secure && !local) return "it is not https";
  if (address !== undefined) return `${hostname} is ${address.name}`;
  if (innerNames.test(hostname) || !hostname.includes(".")) return `${hostname} is the name of an inner host`;
  if (url.hostname.endsWith(".")) return `${url.hostname} ends with a dot`;
  if (!usualPorts.has(Number(port)) && !(local && port === "80")) return `its port ${port} is not one for this`;
  return undefined;
}
