import { LineCounter, isAlias, isMap, isPair, isScalar, isSeq, parseAllDocuments, type Document, type Node, type YAMLParseError } from "yaml";
import { yamlCharactersMax } from "./api.ts";
import type { Path, Problem } from "./problem.ts";
import { doubledKeys, isDeeper } from "./yamlKeys.ts";

/** As deep as the edge takes requests (`edge/route/request.ts`); what a probe posts may be one. */
const depthMax = 64;

export interface YamlTree {
  value: unknown;
  /** Where a field stands; the nearest enclosing one where the path itself is not in the file. */
  position(path: Path): { line: number; column: number };
  /** A scalar as its author wrote it (`1.10`, not 1.1), or undefined when it is no plain scalar. */
  source(path: Path): string | undefined;
  /** Where a scalar's value stands in the text; undefined when it is no scalar. */
  span(path: Path): { from: number; to: number } | undefined;
}

/** A YAML text as a tree that knows its lines. Syntax errors come back as problems. */
export function readYaml(text: string): { tree?: YamlTree; problems: Problem[] } {
  const lines = new LineCounter();
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const refuse = (message: string, offset = 0): { problems: Problem[] } => ({ problems: [{ ...at(offset), field: "", message, level: "error" }] });
  if (text.length > yamlCharactersMax) return refuse(`is larger than ${yamlCharactersMax} characters`);
  let documents: ReturnType<typeof parseAllDocuments>;
  let doubled: number[];
  try {
    documents = parseAllDocuments(text, { lineCounter: lines, merge: true, prettyErrors: false, uniqueKeys: false });
    doubled = Array.isArray(documents) && documents[0] !== undefined ? doubledKeys(documents[0]) : [];
  } catch {
    // the library reads level within level, until the stack is full
    return refuse(`is nested more than ${depthMax} levels deep`);
  }
  if (!Array.isArray(documents)) return refuse("is empty");
  const [document, second] = documents as Document.Parsed[];
  if (document === undefined) return refuse("is empty");
  // what comes after a syntax error are mostly its consequences
  const [error] = document.errors;
  if (error !== undefined) return refuse(`is not YAML: ${wordsOf(error, text)}`, error.pos[0]);
  if (doubled.length > 0) return { problems: doubled.flatMap((offset) => refuse("is not YAML: Map keys must be unique", offset).problems) };
  if (second !== undefined) return refuse("holds a second document: a file is one service", second.range[0]);
  try {
    const value: unknown = document.toJS();
    if (isDeeper(value, depthMax)) return refuse(`is nested more than ${depthMax} levels deep`);
    const tree: YamlTree = {
      value,
      position: (path) => at(find(document, path).offset),
      source(path) {
        const { node, whole } = find(document, path);
        return whole && isScalar(node) && node.type === "PLAIN" ? node.source : undefined;
      },
      span(path) {
        const { node, whole } = find(document, path);
        return whole && isScalar(node) && node.range != null ? { from: node.range[0], to: node.range[1] } : undefined;
      },
    };
    return { tree, problems: [] };
  } catch (caught) {
    // more aliases than the library allows: a "billion laughs" file
    return refuse(`is not YAML: ${(caught as Error).message}`);
  }
}

/** A reference in braces ends a plain text within `{…}` or `[…]`: shells and SkyPilot's docs teach people to write it so. */
function wordsOf({ message, pos: [offset] }: YAMLParseError, text: string): string {
  const [reference, name] = /^\$\{(\w+)\}/.exec(text.slice(Math.max(0, offset - 1))) ?? [];
  return reference === undefined ? message : `\${…} within {…} or […] needs quotes: "${reference}", or $${name} without`;
}

/** The node at a path and the offset of its key; `whole` says whether the path was found to its end. */
function find(document: Document, path: Path): { node: Node | undefined; offset: number; whole: boolean } {
  let node = document.contents ?? undefined;
  let offset = node?.range?.[0] ?? 0;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part));
      if (pair === undefined) return { node: undefined, offset, whole: false };
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = (pair.value as Node | null) ?? undefined;
    } else if (isSeq(node)) {
      node = node.items[Number(part)] as Node | undefined;
      if (node === undefined) return { node, offset, whole: false };
      offset = node.range?.[0] ?? offset;
    } else return { node: undefined, offset, whole: false };
  }
  return { node: isAlias(node) ? node.resolve(document) : node, offset, whole: true };
}
