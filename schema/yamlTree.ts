import { LineCounter, isAlias, isMap, isPair, isScalar, isSeq, parseAllDocuments, type Document, type Node, type YAMLParseError } from "yaml";
import type { Path, Problem } from "./problem.ts";

export interface YamlTree {
  value: unknown;
  /** Where a field stands; the nearest enclosing one where the path itself is not in the file. */
  position(path: Path): { line: number; column: number };
  /** A scalar as its author wrote it (`1.10`, not 1.1), or undefined when it is no plain scalar. */
  source(path: Path): string | undefined;
}

/** A YAML text as a tree that knows its lines. Syntax errors come back as problems. */
export function readYaml(text: string): { tree?: YamlTree; problems: Problem[] } {
  const lines = new LineCounter();
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const documents = parseAllDocuments(text, { lineCounter: lines, merge: true, prettyErrors: false });
  if (!Array.isArray(documents)) return { problems: [{ line: 1, column: 1, field: "", message: "is empty", level: "error" }] };
  const [document, second] = documents as Document.Parsed[];
  if (document === undefined) return { problems: [{ line: 1, column: 1, field: "", message: "is empty", level: "error" }] };
  // what comes after a syntax error are mostly its consequences
  const told = document.errors.filter(({ code }, i) => i === 0 || (code === "DUPLICATE_KEY" && document.errors[0]?.code === code));
  const errors = told.map((error): Problem => ({ ...at(error.pos[0]), field: "", message: `is not YAML: ${wordsOf(error, text)}`, level: "error" }));
  if (errors.length > 0) return { problems: errors };
  if (second !== undefined) {
    return { problems: [{ ...at(second.range[0]), field: "", message: "holds a second document: a file is one service", level: "error" }] };
  }
  try {
    const tree: YamlTree = {
      value: document.toJS(),
      position: (path) => at(find(document, path).offset),
      source(path) {
        const { node, whole } = find(document, path);
        return whole && isScalar(node) && node.type === "PLAIN" ? node.source : undefined;
      },
    };
    return { tree, problems: [] };
  } catch (error) {
    // more aliases than the library allows: a "billion laughs" file
    return { problems: [{ line: 1, column: 1, field: "", message: `is not YAML: ${(error as Error).message}`, level: "error" }] };
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
