import type { Answer, Question, Reading, Watch } from "./notice.ts";
import { trouble } from "./notice.ts";

/** How a metadata service hands out the tokens that its questions need. */
export interface TokenWords {
  path: string;
  ttlHeader: string;
  header: string;
}

/** A token's life: the longest there is (AWS, IMDSv2: 6 hours). An earlier end is answered with 401, and another is asked for. */
const ttlSeconds = 21_600;

export function askToken({ path, ttlHeader }: TokenWords): Question {
  return { method: "PUT", path, headers: { [ttlHeader]: String(ttlSeconds) }, timeoutMs: 2_000 };
}

/**
 * A watch of one path that needs a token: asked for first, and again when it is refused.
 *
 * @param tokenless begin without one, as a service that need not have one is asked
 */
export function tokened(
  words: TokenWords,
  { name, path, everyMs, read, tokenless = false }: { name: string; path: string; everyMs: number; tokenless?: boolean; read: (answer: Answer) => Pick<Reading, "notice"> | undefined },
): Watch {
  const ask = (token?: string): Question => ({ method: "GET", path, headers: token === undefined ? {} : { [words.header]: token }, timeoutMs: 2_000 });
  return {
    name,
    first: tokenless ? ask() : askToken(words),
    read(answer, asked) {
      if (asked.method === "PUT") {
        const token = answer?.status === 200 ? answer.body.trim() : "";
        return /^[\x21-\x7e]{1,1000}$/.test(token) ? { next: ask(token), afterMs: 0 } : trouble(asked, answer);
      }
      if (answer?.status === 401 || (answer?.status === 403 && asked.headers[words.header] === undefined)) return { next: askToken(words), afterMs: 0 };
      const told = answer?.status === 404 ? { notice: null } : answer?.status === 200 ? read(answer) : undefined;
      return told === undefined ? trouble(asked, answer) : { ...told, next: asked, afterMs: everyMs };
    },
  };
}
