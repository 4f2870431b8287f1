import { SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { checkTicket, signTicket } from "./ticket.ts";

const now = 1_800_000_000_000;
const key = "a ticket key of enough entropy, known to the fleet Worker only";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now });
});
afterEach(() => {
  vi.useRealTimers();
});

const secret = (text: string): Uint8Array => new TextEncoder().encode(text);
/** A token that someone else has made. */
const made = (claims: Record<string, unknown>, by = key): Promise<string> => new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(secret(by));
const good = { epoch: 7, aud: "fairlead-relay", sub: "host_1/0", exp: now / 1000 + 60 };

describe("tickets", () => {
  test("open the Relay they were made for, in their session", async () => {
    expect(await checkTicket(key, "host_1/0", await signTicket(key, "host_1/0", 7, now))).toBe(7);
  });

  test("live for a minute", async () => {
    const ticket = await signTicket(key, "host_1/0", 7, now);
    vi.setSystemTime(now + 59_000);
    expect(await checkTicket(key, "host_1/0", ticket)).toBe(7);
    vi.setSystemTime(now + 61_000);
    expect(await checkTicket(key, "host_1/0", ticket)).toBeUndefined();
  });

  test("open no other Relay, and nothing under another key", async () => {
    const ticket = await signTicket(key, "host_1/0", 7, now);
    for (const relay of ["host_1/1", "host_2/0", "", "host_1"]) expect(await checkTicket(key, relay, ticket), relay).toBeUndefined();
    expect(await checkTicket("another key", "host_1/0", ticket)).toBeUndefined();
  });

  test("cannot be altered in any character", async () => {
    const ticket = await signTicket(key, "host_1/0", 7, now);
    const opened: number[] = [];
    for (let at = 0; at < ticket.length; at++) {
      const other = ticket[at] === "A" ? "Q" : "A";
      const epoch = await checkTicket(key, "host_1/0", ticket.slice(0, at) + other + ticket.slice(at + 1));
      // the last character of base64url may carry bits that mean nothing; the ticket then says what it said
      if (epoch !== undefined && !(at === ticket.length - 1 && epoch === 7)) opened.push(at);
    }
    expect(opened).toEqual([]);
  });

  test("one made by the right key and right in all is opened: the cases below fail for their own reason", async () => {
    expect(await checkTicket(key, "host_1/0", await made(good))).toBe(7);
  });

  test.each<[string, Record<string, unknown>]>([
    ["no end", { ...good, exp: undefined }],
    ["no Relay", { ...good, sub: undefined }],
    ["no audience", { ...good, aud: undefined }],
    ["another audience", { ...good, aud: "other" }],
    ["no session", { ...good, epoch: undefined }],
    ["a session that is no number", { ...good, epoch: "7" }],
  ])("with %s open nothing", async (_, claims) => {
    expect(await checkTicket(key, "host_1/0", await made(claims))).toBeUndefined();
  });

  test.each(["", "x", "a.b.c"])("junk opens nothing: %j", async (junk) => {
    expect(await checkTicket(key, "host_1/0", junk)).toBeUndefined();
  });

  test("an unsigned token opens nothing", async () => {
    const part = (value: unknown): string => btoa(JSON.stringify(value)).replaceAll("=", "");
    expect(await checkTicket(key, "host_1/0", `${part({ alg: "none" })}.${part(good)}.`)).toBeUndefined();
  });
});
