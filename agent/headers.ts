/** Headers that speak of one connection, not of the request (RFC 9110 §7.6.1), and those that the next hop says itself. */
const hopByHop = new Set(["connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "trailers", "transfer-encoding", "upgrade"]);

/** Headers without those of the hop and those that its Connection header names. Order and repetition stay: cookies are apart. */
export function endToEnd(headers: readonly (readonly [string, string])[], also: readonly string[] = []): [string, string][] {
  const dropped = new Set([...hopByHop, ...also]);
  for (const [name, value] of headers) {
    if (name.toLowerCase() === "connection") for (const named of value.split(",")) dropped.add(named.trim().toLowerCase());
  }
  return headers.filter(([name]) => !dropped.has(name.toLowerCase())).map(([name, value]) => [name, value]);
}

/** Names and values in turn, as Node's HTTP parsers give them, as pairs. */
export function pairs(raw: readonly (string | Buffer)[]): [string, string][] {
  const out: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) out.push([text(raw[i]), text(raw[i + 1])]);
  return out;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const beyondAscii = /[^\0-\x7f]/;

/** Header text as the edge has it: UTF-8 where the bytes are that, else a character for each byte, as Node's parsers give them. */
function text(value: string | Buffer | undefined): string {
  const bytewise = typeof value === "string" ? value : (value?.toString("latin1") ?? "");
  if (!beyondAscii.test(bytewise)) return bytewise;
  try {
    return utf8.decode(Buffer.from(bytewise, "latin1"));
  } catch {
    return bytewise;
  }
}

/** Header text from the edge as Node writes it: a character for each byte of its UTF-8. */
export function bytewise(value: string): string {
  return beyondAscii.test(value) ? Buffer.from(value, "utf8").toString("latin1") : value;
}

export function headerOf(headers: readonly (readonly [string, string])[], name: string): string | undefined {
  return headers.find(([one]) => one.toLowerCase() === name)?.[1];
}
