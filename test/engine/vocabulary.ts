/**
 * The simulated model's vocabulary, and which kind of word may follow which.
 *
 * A token is a byte sequence, kept here as a latin1 string (one character per byte). Ids 0..255 are the single bytes, so every text can be spelled. Some tokens end inside a
 * multi-byte UTF-8 character on purpose: real vocabularies have them, and streams that lose or double a character do so at exactly these tokens.
 */

export type WordKind = "starter" | "determiner" | "adjective" | "noun" | "verb" | "adverb" | "preposition" | "conjunction" | "comma" | "fullStop" | "ornament" | "paragraph";

const WORDS: Partial<Record<WordKind, string>> = {
  determiner: "the a every one this that each another",
  adjective: "quiet old narrow bright patient salt distant northern steady grey warm heavy small hidden early",
  noun: "harbour tide lantern pilot channel rope keel gull cargo captain engine signal chart mast wind anchor ship pier fog river crew compass current bay morning light",
  verb: "carries finds holds follows meets leaves answers crosses guides lifts turns keeps",
  adverb: "slowly again together quietly homeward always twice",
  preposition: "under along beyond beside through toward past over",
  conjunction: "and while because until",
};

const STARTERS = ["The", "A", "Every", "One", "Each", "Another"];

/** Words of several tokens, spelled piece by piece. The first piece of each occurs in no other word unless the words share the pieces up to where they part. */
const SPELLED: [WordKind, string[]][] = [
  ["verb", [" moor", "ed"]],
  ["verb", [" drift", "ed"]],
  ["verb", [" steer", "ing"]],
  ["verb", [" haul", "ed"]],
  ["noun", [" caf", "\xc3", "\xa9"]],
  ["noun", [" M", "\xc3", "\xa1", "laga"]],
  ["noun", [" \xc3", "\x85", "lesund"]],
  ["noun", [" \xe6", "\xb8\xaf"]],
  ["conjunction", [" \xe2\x80", "\x94"]],
  ["ornament", [" \xe2\x9a", "\x93"]],
  ["ornament", [" \xf0\x9f", "\x9a", "\xa2"]],
  ["ornament", [" \xf0\x9f", "\x8c", "\x8a"]],
];

const SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<|vision_start|>", "<|vision_end|>"];
const TEMPLATE_WORDS = ["system", "user", "assistant", "tool", "developer"];

/** What may follow a word of each kind, with weights. */
export const FOLLOWERS: Record<WordKind, readonly (readonly [WordKind, number])[]> = {
  starter: [["noun", 5], ["adjective", 4]],
  determiner: [["noun", 5], ["adjective", 4]],
  adjective: [["noun", 8], ["adjective", 1]],
  noun: [["verb", 9], ["preposition", 5], ["fullStop", 4], ["comma", 1]],
  verb: [["determiner", 7], ["adverb", 2], ["preposition", 2]],
  adverb: [["preposition", 2], ["fullStop", 2], ["conjunction", 1]],
  preposition: [["determiner", 1]],
  conjunction: [["determiner", 1]],
  comma: [["conjunction", 1]],
  fullStop: [["starter", 8], ["ornament", 4], ["paragraph", 1]],
  ornament: [["starter", 4], ["paragraph", 1]],
  paragraph: [["starter", 1]],
};

function spellings(): string[] {
  const tokens: string[] = [];
  for (let byte = 0; byte < 256; byte++) tokens.push(String.fromCharCode(byte));
  const letters = "abcdefghijklmnopqrstuvwxyz";
  for (const first of letters) for (const second of letters) tokens.push(first + second);
  for (const letter of letters) tokens.push(" " + letter);
  tokens.push("\n\n", "ing", ...STARTERS, ...STARTERS.map((word) => " " + word), ...TEMPLATE_WORDS);
  for (const words of Object.values(WORDS)) tokens.push(...words.split(" ").map((word) => " " + word));
  for (const [, pieces] of SPELLED) tokens.push(...pieces);
  tokens.push(...SPECIAL);
  return [...new Set(tokens)];
}

/** Token bytes by id. */
export const TOKENS: readonly string[] = spellings();

/** Token ids by bytes. */
export const IDS: ReadonlyMap<string, number> = new Map(TOKENS.map((bytes, id) => [bytes, id]));

/** The longest token, in bytes. */
export const TOKEN_BYTES_MAX = Math.max(...TOKENS.map((bytes) => bytes.length));

function idOf(bytes: string): number {
  const id = IDS.get(bytes);
  if (id === undefined) throw new Error(`No token is spelled ${JSON.stringify(bytes)}`);
  return id;
}

export const END_OF_TEXT = idOf("<|endoftext|>");
export const TURN_START = idOf("<|im_start|>");
/** Ends an answer: the model's end-of-sequence token. */
export const TURN_END = idOf("<|im_end|>");
export const THINK = idOf("<think>");
export const THINK_END = idOf("</think>");
export const ASSISTANT = idOf("assistant");
export const FULL_STOP = idOf(".");
export const NEWLINE = idOf("\n");
export const PARAGRAPH = idOf("\n\n");

/** Tokens that never show in text, as with `skip_special_tokens`. The think and tool-call marks do show, for a parser to find. */
export const SILENT: ReadonlySet<number> = new Set([END_OF_TEXT, TURN_START, TURN_END, idOf("<|vision_start|>"), idOf("<|vision_end|>")]);

/** One way to go on: a word as its token ids. Only the first is chosen; the others follow from it. */
export interface Word {
  kind: WordKind;
  ids: readonly number[];
}

/** Words of several tokens. */
export const SPELLED_WORDS: readonly Word[] = SPELLED.map(([kind, pieces]) => ({ kind, ids: pieces.map(idOf) }));

/** The most tokens in one word. */
export const WORD_TOKENS_MAX = Math.max(...SPELLED_WORDS.map((word) => word.ids.length));

function firstTokens(kind: WordKind): number[] {
  const single = (WORDS[kind] ?? "").split(" ").filter((word) => word !== "").map((word) => idOf(" " + word));
  const spelled = SPELLED_WORDS.filter((word) => word.kind === kind).map((word) => word.ids[0] as number);
  return [...single, ...new Set(spelled)];
}

/** The first tokens of the words of each kind. A starter follows a space unless it opens a line; see `LINE_STARTERS`. */
export const FIRST_TOKENS: Record<WordKind, readonly number[]> = {
  starter: STARTERS.map((word) => idOf(" " + word)),
  determiner: firstTokens("determiner"),
  adjective: firstTokens("adjective"),
  noun: firstTokens("noun"),
  verb: firstTokens("verb"),
  adverb: firstTokens("adverb"),
  preposition: firstTokens("preposition"),
  conjunction: firstTokens("conjunction"),
  comma: [idOf(",")],
  fullStop: [idOf(".")],
  ornament: firstTokens("ornament"),
  paragraph: [PARAGRAPH],
};

/** Starters at the beginning of a line. */
export const LINE_STARTERS: readonly number[] = STARTERS.map(idOf);

/** The kind of each word that is a single token. */
export const KIND_OF_TOKEN: ReadonlyMap<number, WordKind> = new Map([
  ...LINE_STARTERS.map((id): [number, WordKind] => [id, "starter"]),
  ...(Object.keys(FIRST_TOKENS) as WordKind[]).flatMap((kind) => FIRST_TOKENS[kind].map((id): [number, WordKind] => [id, kind])),
]);
