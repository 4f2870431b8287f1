import { describe, expect, test } from "vitest";
import { refusedAddress } from "./address.ts";

const abroad = (endpoint: string, allowed: string[] = []): string | undefined => refusedAddress(endpoint, { local: false, allowed });
const local = (endpoint: string): string | undefined => refusedAddress(endpoint, { local: true });

describe("refusedAddress()", () => {
  test.each([
    "https://api.openai.com/v1", "https://api.openai.com", "https://API.OpenAI.com:443/v1", "https://vllm.example.com:8443/v1", "https://res.openai.azure.com/openai/deployments/d?api-version=2026-01-01",
    "https://xn--bcher-kva.example/v1", "https://bücher.example", "https://10.example.com", "https://127.0.0.1.example.com", "https://localhost.example.com", "https://internal.example.com", "https://example.com/a@b",
  ])("lets %s be called, in the local world too", (endpoint) => {
    expect(abroad(endpoint)).toBeUndefined();
    expect(local(endpoint)).toBeUndefined();
  });

  // every spelling that URL reads as the machine itself
  test.each([
    "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "0177.0.0.1", "2130706433", "017700000001", "127.0.0.1.", "127.255.255.254", "１２７.０.０.１", "127。0。0。1", "%31%32%37.0.0.1", "①②⑦.0.0.1",
    "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]",
    "localhost", "LOCALHOST", "localhost.", "a.localhost", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
  ])("refuses the machine itself, spelt %s, but in the local world", (host) => {
    expect(abroad(`https://${host}/v1`)).toMatch(/loopback|inner host/);
    expect(abroad(`https://${host}:8443/v1`)).toMatch(/loopback|inner host/);
    expect(local(`https://${host}/v1`)).toBeUndefined();
    expect(local(`http://${host}:49152/v1`)).toBeUndefined();
  });

  test.each([
    ["0.0.0.0", /unspecified/], ["0", /unspecified/], ["0.1.2.3", /unspecified/], ["[::]", /unspecified/],
    ["10.0.0.1", /private/], ["10.1", /private/], ["172.16.0.1", /private/], ["172.31.255.255", /private/], ["192.168.0.1", /private/], ["0xc0a80001", /private/], ["[::ffff:10.0.0.1]", /private/], ["[::a00:1]", /private/],
    ["100.64.0.1", /shared/], ["100.127.255.255", /shared/],
    ["169.254.169.254", /link-local/], ["2852039166", /link-local/], ["[::ffff:a9fe:a9fe]", /link-local/], ["[fe80::1]", /link-local/], ["[febf::1]", /link-local/],
    ["[fc00::1]", /unique local/], ["[fd12:3456:789a::1]", /unique local/],
    ["224.0.0.1", /multicast/], ["[ff02::1]", /multicast/], ["240.0.0.1", /reserved/], ["255.255.255.255", /reserved/],
    ["[64:ff9b::7f00:1]", /loopback/], ["[64:ff9b::10.0.0.1]", /private/], ["[64:ff9b::a9fe:a9fe]", /link-local/], ["[64:ff9b:1::a00:1]", /private/], ["[2002:7f00:1::]", /loopback/], ["[2002:a00:1::1]", /private/],
    ["8.8.8.8", /IP address/], ["172.15.0.1", /IP address/], ["172.32.0.1", /IP address/], ["100.128.0.1", /IP address/], ["[2606:4700::1111]", /IP address/], ["[64:ff9b::808:808]", /IP address/],
  ])("refuses %s everywhere", (host, why) => {
    expect(abroad(`https://${host}/v1`)).toMatch(why);
    expect(local(`https://${host}/v1`)).toMatch(why);
    expect(local(`http://${host}:8000/v1`)).toMatch(why);
  });

  test.each([
    ["https://printer.local", /inner host/], ["https://metadata.google.internal", /inner host/], ["https://METADATA.GOOGLE.INTERNAL.", /dot|inner/], ["https://nas.lan", /inner host/], ["https://x.home.arpa", /inner host/],
    ["https://vllm/v1", /inner host/], ["https://kubernetes.default.svc.cluster.local", /inner host/], ["https://example.com.", /ends with a dot/],
    ["https://user@example.com", /password/], ["https://user:secret@example.com", /password/], ["https://:secret@example.com", /password/], ["https://@example.com", /password/], ["https:\\\\@example.com", /password/],
    ["https://example.com:22", /port 22/], ["https://example.com:80", /port 80/], ["https://example.com:6379", /port 6379/], ["https://example.com:8000", /port 8000/], ["https://example.com:65535", /port/],
    ["ftp://example.com", /not https/], ["file:///etc/passwd", /not https/], ["javascript:1", /not https/], ["wss://example.com", /not https/], ["data:,x", /not https/],
    ["", /no URL/], ["example.com", /no URL/], ["https://", /no URL/], ["https://a b", /no URL/], ["https://1.2.3.4.5", /no URL/], ["https://256.0.0.1", /no URL/], ["https://[::1", /no URL/],
  ])("refuses %s everywhere, and says why", (endpoint, why) => {
    expect(abroad(endpoint)).toMatch(why);
    if (!endpoint.includes(":80")) expect(local(endpoint)).toMatch(why);
  });

  test("asks for https but in the local world", () => {
    expect(abroad("http://api.example.com/v1")).toBe("it is not https");
    expect(local("http://api.example.com/v1")).toBeUndefined();
  });

  test("never says a password", () => {
    expect(abroad("https://user:hunter2@127.0.0.1")).not.toContain("hunter2");
  });

  test.each([
    ["a host with any port above 1023", "gpu.example.com", "https://gpu.example.com:8000/v1", true],
    ["… and no port below", "gpu.example.com", "https://gpu.example.com:22/v1", false],
    ["… by https only", "gpu.example.com", "http://gpu.example.com:8000/v1", false],
    ["… and no other host", "gpu.example.com", "https://a.gpu.example.com:8000/v1", false],
    ["a host with one port", "10.0.0.5:8000", "https://10.0.0.5:8000/v1", true],
    ["… in any spelling", "10.0.0.5:8000", "https://0xa.5:8000/v1", true],
    ["… and no other port", "10.0.0.5:8000", "https://10.0.0.5:8001/v1", false],
    ["the usual port", "10.0.0.5:443", "https://10.0.0.5/v1", true],
    ["… alone", "10.0.0.5:443", "https://10.0.0.5:8443/v1", false],
    ["an origin with http", "http://10.0.0.5:8000", "http://10.0.0.5:8000/v1", true],
    ["an origin on port 80", "http://vllm", "http://vllm/v1", true],
    ["an inner name", "vllm.internal:8443", "https://vllm.internal:8443/v1", true],
    ["the machine itself", "localhost", "https://localhost:8443/v1", true],
    ["no credential in the URL", "gpu.example.com", "https://u:p@gpu.example.com/v1", false],
    ["no cloud's metadata", "169.254.169.254", "https://169.254.169.254/", false],
    ["nothing by an entry that is none", "://", "https://10.0.0.5/", false],
  ])("an operator's list grants %s", (_, entry, endpoint, granted) => {
    expect(abroad(endpoint, [entry]) === undefined).toBe(granted);
  });
});
