import { describe, expect, test } from "vitest";
import { quarantinedMax, quarantineMs } from "../../schema/quarantine.ts";
import { diedOf, fingerprint, Poison, type Loss } from "./poison.ts";

const loss = (request: string, replica: string, cameAt = 0): Loss => ({ request, replica, cameAt });

describe("fingerprint()", () => {
  test("is the same for the same text, in sixteen digits", () => {
    const text = '{"model":"m","prompt":"<<die>> \u00fc\u{1f600}"}';
    expect(fingerprint("a", text.slice(0, 9) + text.slice(9))).toBe(fingerprint("a", text));
    expect(fingerprint("a", text)).toMatch(/^[0-9a-f]{16}$/);
  });

  test("is another for any other byte, length or account", () => {
    const base = "x".repeat(70);
    const all = [fingerprint("b", base), ...["a", "b"].map((end) => fingerprint("a", base + end)), fingerprint("a", `${base}\0`)];
    for (let i = 0; i < base.length; i++) all.push(fingerprint("a", `${base.slice(0, i)}y${base.slice(i + 1)}`));
    all.push(fingerprint("a", base));
    expect(new Set(all).size).toBe(all.length);
  });

  test("finds no two alike among a hundred thousand short bodies", () => {
    const seen = new Set<string>();
    for (let i = 0; i < 100_000; i++) seen.add(fingerprint("a", `{"n":${i}}`));
    expect(seen.size).toBe(100_000);
  });
});

test.each([
  ["upstream_lost: the replica was lost before it answered: ECONNRESET", true],
  ["carrier_lost: the agent's connection was lost", false],
  ["cancelled: the replica was being stopped", false],
  ["Network connection lost.", false],
])("diedOf(): a loss because of %j says %s", (why, died) => {
  expect(diedOf({ kind: "lost", why })).toBe(died);
  expect(diedOf({ kind: "unsent", why })).toBe(false);
});

describe("Poison", () => {
  test.each<[string, [at: number, Loss][], string[]]>([
    ["two replicas of one request", [[0, loss("r1", "a")], [5, loss("r1", "b")]], ["suspect", "poison"]],
    ["two replicas of two requests, one after the other", [[10, loss("r1", "a")], [20, loss("r2", "b", 10)]], ["suspect", "poison"]],
    ["two replicas of two requests that were under way together", [[10, loss("r1", "a")], [20, loss("r2", "b", 9)]], ["suspect", "suspect"]],
    ["one replica, of which two requests were lost together", [[10, loss("r1", "a", 1)], [11, loss("r2", "a", 2)]], ["suspect", "suspect"]],
    ["one replica while its connections are still breaking", [[10, loss("r1", "a")], [2_009, loss("r2", "a", 12)]], ["suspect", "suspect"]],
    ["one replica that had started anew", [[10, loss("r1", "a")], [2_010, loss("r2", "a", 2_005)]], ["suspect", "poison"]],
    ["of two requests that were under way together, the second one's next", [[10, loss("r1", "a")], [11, loss("r2", "b", 9)], [12, loss("r2", "c", 9)]], ["suspect", "suspect", "poison"]],
    ["a third one after two", [[0, loss("r1", "a")], [1, loss("r1", "b")], [2, loss("r1", "c")]], ["suspect", "poison", "known"]],
    ["two that are further apart than anything is remembered", [[0, loss("r1", "a")], [quarantineMs, loss("r2", "b", 5)]], ["suspect", "suspect"]],
  ])("%s", (_, losses, verdicts) => {
    const poison = new Poison();
    expect(losses.map(([at, one]) => poison.blame("acme", "f", one, at))).toEqual(verdicts);
    expect(poison.isPoison("acme", "f", losses.at(-1)?.[0] ?? 0) !== undefined).toBe(verdicts.includes("poison"));
  });

  test("row 33: a request is refused for ten minutes, for its own account only", () => {
    const poison = new Poison();
    poison.blame("acme", "f", loss("r1", "a"), 0);
    poison.blame("acme", "f", loss("r1", "b"), 1_000);
    expect(quarantineMs).toBe(10 * 60_000);
    expect(poison.isPoison("acme", "f", 1_000)).toBe(1_000 + quarantineMs);
    expect(poison.isPoison("acme", "f", 1_000 + quarantineMs - 1)).toBeDefined();
    expect(poison.isPoison("acme", "f", 1_000 + quarantineMs)).toBeUndefined();
    expect(poison.isPoison("acme", "g", 1_000)).toBeUndefined();
    expect(poison.isPoison("other", "f", 1_000)).toBeUndefined();
    expect(poison.suspects("other", 1_000)).toBe(false);
    expect(poison.suspects("acme", 1_000 + quarantineMs - 1)).toBe(true);
    expect(poison.suspects("acme", 1_000 + quarantineMs)).toBe(false);
  });

  test("row 33: a harmless request is never refused, however many replicas are killed under it", () => {
    const poison = new Poison();
    for (let i = 0; i < 100; i++) {
      expect(poison.blame("acme", "f", loss(`r${i}`, `replica-${i % 3}`, i * 1_000), i * 1_000 + 500)).toBe("suspect");
      poison.forgive("acme", "f");
      expect(poison.suspects("acme", i * 1_000 + 600)).toBe(false);
    }
  });

  test("forgive() clears suspects, not what is refused", () => {
    const poison = new Poison();
    poison.blame("acme", "f", loss("r1", "a"), 0);
    poison.blame("acme", "f", loss("r1", "b"), 1);
    poison.forgive("acme", "f");
    expect(poison.isPoison("acme", "f", 2)).toBeDefined();
  });

  test("is bounded: an account's oldest go, and no other account's with them", () => {
    const poison = new Poison();
    const quarantine = (account: string, name: string, at: number): void => {
      poison.blame(account, name, loss(`${name}-r`, "a"), at);
      poison.blame(account, name, loss(`${name}-r`, "b"), at);
    };
    quarantine("other", "kept", 0);
    for (let i = 0; i <= quarantinedMax.account; i++) quarantine("acme", `f${i}`, i);
    expect(poison.isPoison("acme", "f0", 200)).toBeUndefined();
    expect(poison.isPoison("acme", "f1", 200)).toBeDefined();
    expect(poison.isPoison("other", "kept", 200)).toBeDefined();
    for (let i = 0; i < quarantinedMax.all; i++) quarantine(`account-${i}`, "f", 300);
    expect(poison.suspects("other", 301)).toBe(false);
  });
});
