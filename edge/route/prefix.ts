/** Bytes of prompt in a block: about 128 tokens, eight blocks of vLLM's 16 (facts/routing-and-scaling.md §2: llm-d, SMG). */
export const blockBytes = 512;
/** Blocks hashed at most: 128 KB of prompt is some 32,000 tokens; a longer one is told apart, or kept together, by that much. */
export const blocksMax = 256;
/** Of the first message that is not the system's, so much tells one conversation from another (KubeAI takes 100 characters). */
const conversationCharacters = 512;

const bytes = new Uint8Array(blockBytes * blocksMax);
const words = new Int32Array(bytes.buffer);
const encoder = new TextEncoder();

// Odd 32-bit constants with well-mixed bits: the primes of xxHash32 (Yann Collet, BSD 2-Clause).
const prime1 = 0x9e3779b1;
const prime2 = 0x85ebca77;
const prime3 = 0xc2b2ae3d;
const prime4 = 0x27d4eb2f;

/** Two 32-bit numbers as one, each bit of either changing about half of it (the finaliser of MurmurHash3, Austin Appleby, public domain). */
export function mix(a: number, b: number): number {
  let h = Math.imul(a ^ Math.imul(b, prime1), prime2);
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** A short text as 32 bits: names, sessions, accounts. */
export function textHash(text: string, seed = 0): number {
  let h = seed ^ Math.imul(text.length, prime4);
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), prime1);
    h ^= h >>> 15;
  }
  return mix(h, seed);
}

/** Chained hashes of the whole blocks among the first `length` bytes of the buffer. Four lanes, so that no multiplication waits for the one before it. */
function chained(length: number, seed: number): number[] {
  const out: number[] = [];
  const blocks = Math.floor(length / blockBytes);
  let h = seed;
  for (let block = 0, i = 0; block < blocks; block++) {
    let a = h;
    let b = h ^ prime2;
    let c = h ^ prime3;
    let d = h ^ prime4;
    for (const end = i + blockBytes / 4; i < end; i += 4) {
      a = Math.imul(a ^ (words[i] as number), prime1);
      a ^= a >>> 15;
      b = Math.imul(b ^ (words[i + 1] as number), prime2);
      b ^= b >>> 15;
      c = Math.imul(c ^ (words[i + 2] as number), prime3);
      c ^= c >>> 15;
      d = Math.imul(d ^ (words[i + 3] as number), prime1);
      d ^= d >>> 15;
    }
    h = mix(Math.imul(a, prime1) ^ ((b << 7) | (b >>> 25)), Math.imul(c, prime2) ^ ((d << 13) | (d >>> 19)));
    out.push(h);
  }
  return out;
}

/** What an isolate sees of a prompt: 32-bit numbers, none of which says anything without the account's. */
export interface PromptHashes {
  /** One for each whole block, each of that block and all before it. */
  chain: readonly number[];
  /** Of what tells this conversation from others with the same system prompt; the same in all of its turns. */
  conversation: number;
  /** Whether it has earlier turns: an answer is among the messages. */
  continues: boolean;
}

/** The texts of a message's content: a string, or parts with a text or the address of an image. */
function textsOf(content: unknown): string[] {
  if (typeof content === "string") return [content];
  if (!Array.isArray(content)) return [];
  return content.flatMap((part: unknown) => {
    if (typeof part === "string") return [part];
    if (typeof part !== "object" || part === null) return [];
    const { text, image_url: image } = part as { text?: unknown; image_url?: { url?: unknown } | null };
    if (typeof text === "string") return [text];
    return typeof image?.url === "string" ? [image.url] : [];
  });
}

/**
 * Hash the prompt of a parsed request of any of OpenAI's text surfaces (`messages`, `prompt`, `input`) in its first 128 KB.
 *
 * The account and the model go into every hash: the same prompt of another account has unrelated ones, so that nobody can find out
 * by where a request goes what others have asked. About 9 µs for 32 KB.
 */
export function promptHashes(body: Record<string, unknown>, account: string): PromptHashes {
  const model = body["model"];
  const seed = textHash(typeof model === "string" ? model : "", textHash(account));
  const said = body["messages"] ?? body["input"];
  let length = 0;
  let conversation: number | undefined;
  let continues = false;
  const add = (text: string): void => {
    if (length < bytes.length) length += encoder.encodeInto(text, bytes.subarray(length)).written;
  };
  const begin = (text: string): void => {
    conversation ??= textHash(text.slice(0, conversationCharacters), seed);
  };
  if (typeof body["instructions"] === "string") add(body["instructions"]);
  if (Array.isArray(said)) {
    for (const message of said as unknown[]) {
      if (length >= bytes.length && conversation !== undefined) break;
      if (typeof message === "string") {
        begin(message);
        add(message);
        continue;
      }
      if (typeof message !== "object" || message === null) continue;
      const { role, content } = message as { role?: unknown; content?: unknown };
      if (role === "assistant") continues = true;
      const texts = textsOf(content);
      if (role !== "system" && role !== "developer") begin(texts[0] ?? "");
      add(typeof role === "string" ? `\u0001${role}\u0002` : "\u0001");
      for (const text of texts) add(text);
    }
  } else {
    const prompt = typeof said === "string" ? [said] : textsOf(body["prompt"]);
    for (const text of prompt) {
      begin(text);
      add(text);
    }
  }
  return { chain: chained(length, seed), conversation: conversation ?? seed, continues };
}
