/** What becomes of a member of a JSON object: a new value, a new name, or nothing. */
export type Change = { value: unknown } | { name: string } | "dropped";

interface Member {
  key: string;
  keyStart: number;
  keyEnd: number;
  end: number;
}

const blank = /\s*/y;
const scalar = /[^,\]}\s]*/y;
const delimiter = /["{}[\]]/g;

/** Where a match that starts at `from` ends. */
function past(pattern: RegExp, text: string, from: number): number {
  pattern.lastIndex = from;
  pattern.exec(text);
  return Math.max(from, pattern.lastIndex);
}

/** Past a string that opens at `from`. Long strings (images) are crossed by `indexOf`, not letter by letter. */
function pastString(text: string, from: number): number {
  for (let quote = text.indexOf('"', from + 1); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    let slashes = 0;
    while (text[quote - 1 - slashes] === "\\") slashes++;
    if (slashes % 2 === 0) return quote + 1;
  }
  return text.length;
}

function pastValue(text: string, from: number): number {
  const first = text[from];
  if (first === '"') return pastString(text, from);
  if (first !== "{" && first !== "[") return past(scalar, text, from);
  let depth = 0;
  let at = from;
  for (;;) {
    delimiter.lastIndex = at;
    const found = delimiter.exec(text);
    if (found === null) return text.length;
    if (found[0] === '"') at = pastString(text, found.index);
    else {
      at = found.index + 1;
      depth += found[0] === "{" || found[0] === "[" ? 1 : -1;
      if (depth === 0) return at;
    }
  }
}

function membersOf(text: string): Member[] {
  const members: Member[] = [];
  let at = past(blank, text, text.indexOf("{") + 1);
  while (text[at] === '"') {
    const keyStart = at;
    const keyEnd = pastString(text, keyStart);
    const end = pastValue(text, past(blank, text, past(blank, text, keyEnd) + 1));
    members.push({ key: JSON.parse(text.slice(keyStart, keyEnd)) as string, keyStart, keyEnd, end });
    at = past(blank, text, past(blank, text, end) + 1);
  }
  return members;
}

/**
 * Change members of a JSON object in its text, so that everything else stays as the client wrote it: a `seed` beyond 2^53 would
 * lose digits on its way through `JSON.parse` and back. A member that is there twice is changed twice; one that is not there is
 * added when it has a value.
 *
 * @param text a JSON object that is known to be valid
 */
export function withMembers(text: string, changes: ReadonlyMap<string, Change>): string {
  const missing = new Set(changes.keys());
  const parts: string[] = [];
  for (const { key, keyStart, keyEnd, end } of membersOf(text)) {
    missing.delete(key);
    const change = changes.get(key);
    if (change === undefined) parts.push(text.slice(keyStart, end));
    else if (change === "dropped") continue;
    else if ("name" in change) parts.push(JSON.stringify(change.name) + text.slice(keyEnd, end));
    else parts.push(`${text.slice(keyStart, keyEnd)}:${JSON.stringify(change.value)}`);
  }
  for (const key of missing) {
    const change = changes.get(key);
    if (typeof change === "object" && "value" in change) parts.push(`${JSON.stringify(key)}:${JSON.stringify(change.value)}`);
  }
  return `{${parts.join(",")}}`;
}
