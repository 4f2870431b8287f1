/** What stands in place of a secret. */
const hidden = "***";
/** A value that is shorter may be any word of a log line. */
const secretMin = 4;
/** Values that are remembered at most; the oldest go. */
const secretsMax = 4_096;

/**
 * What is a credential by its shape: our keys (`schema/key.ts`), those of OpenAI and who writes alike (`sk-…`), Hugging Face, GitHub,
 * AWS and Google ones, JWTs, PEM keys' bodies, what follows `Bearer` or `Basic`, and passwords in addresses.
 */
const shapes: [RegExp, string][] = [
  [/(?<![A-Za-z0-9])fl[aj]?_[A-Za-z0-9]{6,}_[A-Za-z0-9]{8,}/g, hidden],
  [/(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{8,}/g, hidden],
  [/\b(?:hf_|gh[opsu]_|github_pat_|glpat-|xox[abpr]-|nvapi-|gsk_|r8_)[A-Za-z0-9_-]{8,}/g, hidden],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g, hidden],
  [/\bAIza[A-Za-z0-9_-]{30,}/g, hidden],
  [/\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*/g, hidden],
  [/\b(bearer|basic)(\s+|%20)[A-Za-z0-9._~+/=-]{4,}/gi, `$1$2${hidden}`],
  [/\b(authorization|x-api-key|api[_-]?key|access[_-]?token|auth[_-]?token|password|passwd|secret)(["']?\s*[:=]\s*["']?)(?!(?:bearer|basic)\s)[^\s"',;&}]{4,}/gi, `$1$2${hidden}`],
  [/(:\/\/[^\s:/@]*:)[^\s@/]+@/g, `$1${hidden}@`],
];

/**
 * What engines write of a request's text when they log requests: vLLM's `prompt: '…', params:`, SGLang's `text='…'`, and the fields of
 * OpenAI's bodies as JSON or as Python prints them. A text that its line cuts short is hidden up to the line's end.
 */
const prompts: [RegExp, string][] = [
  [/\b(prompt: )(?:'(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$))/g, `$1${hidden}`],
  [/\b((?:text|prompt)=)(?:'(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$))/g, `$1${hidden}`],
  [/((["'])(?:content|prompt|input|reasoning_content)\2\s*:\s*)(?:'(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$))/g, `$1"${hidden}"`],
  [/\b((?:prompt_token_ids|input_ids)["']?\s*[:=]\s*)\[[^\]]*(?:\]|$)/g, `$1[${hidden}]`],
];

export interface Scrubber {
  /** Values that must not leave this host. */
  learn(values: Iterable<string>): void;
  /** One line without them, and without what has the shape of a credential or of a prompt. */
  scrub(line: string): string;
}

/**
 * Takes secrets and prompts out of what this host tells, at their source: nothing behind it has to be trusted with them. A value is
 * known in the forms in which programs print it too: escaped for JSON or an address, in base64, and line by line.
 */
export function createScrubber(): Scrubber {
  const known = new Set<string>();
  /** Longest first: a value may hold another one. */
  let ordered: string[] = [];

  return {
    learn(values) {
      for (const value of values) for (const form of formsOf(value)) if (form.length >= secretMin) known.add(form);
      for (const oldest of known) {
        if (known.size <= secretsMax) break;
        known.delete(oldest);
      }
      ordered = [...known].sort((a, b) => b.length - a.length);
    },
    scrub(line) {
      let text = line;
      for (const value of ordered) if (text.includes(value)) text = text.replaceAll(value, hidden);
      for (const [shape, by] of shapes) text = text.replace(shape, by);
      for (const [shape, by] of prompts) text = text.replace(shape, by);
      return text;
    },
  };
}

function formsOf(value: string): string[] {
  const lines = value.includes("\n") ? value.split("\n").map((line) => line.trim()).filter((line) => line.length >= 2 * secretMin) : [];
  const base64 = Buffer.from(value, "utf8").toString("base64");
  return [value, value.trim(), JSON.stringify(value).slice(1, -1), encodeURIComponent(value.isWellFormed() ? value : ""), base64, base64.replace(/=+$/, ""), ...lines];
}

/** A line as a terminal would leave it: no escapes, no control characters but tabs, of a bar that was drawn anew its last state. */
export function bare(line: string): string {
  // oxlint-disable-next-line no-control-regex -- the escape character is what is to be removed
  const text = line.replace(/\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|.)/g, "").replace(/\r+$/, "");
  return text.slice(text.lastIndexOf("\r") + 1).replace(/[^\P{C}\t]/gu, "");
}
