// SPDX-License-Identifier: Apache-2.0
/** A YAML text as plain data, together with the line each field stands on. */
import { type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { type FieldPath, formatPath, type Locate, type Parsed, type Problem } from "./problem.ts";

export interface YamlSource {
  readonly data: unknown;
  readonly locate: Locate;
}

/** YAML 1.2, so that `off` stays a word; `<<` merges, because workloads share much. Names the file in every problem. */
export function readYaml(text: string, file: string): Parsed<YamlSource> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, merge: true, prettyErrors: false, uniqueKeys: true });
  const complaints = [...document.errors, ...document.warnings];
  if (complaints.length > 0) {
    return {
      ok: false,
      problems: complaints.map((error) => problem(file, lines.linePos(error.pos[0]).line, error.message)),
    };
  }
  try {
    return { ok: true, value: { data: document.toJS(), locate: locator(document, lines, file) } };
  } catch (error) {
    // Aliases that multiply beyond all measure.
    if (!(error instanceof ReferenceError)) throw error;
    return { ok: false, problems: [problem(file, undefined, error.message)] };
  }
}

function problem(file: string, line: number | undefined, message: string): Problem {
  const flat = message.replaceAll(/\s*\n\s*/g, " ");
  return line === undefined
    ? { text: `${file}: ${flat}`, path: [] }
    : { text: `${file}:${line}: ${flat}`, path: [], line };
}

function locator(document: Document.Parsed, lines: LineCounter, file: string): Locate {
  return (path) => {
    const offset = offsetOf(document, path);
    const field = path.length === 0 ? "" : `: ${formatPath(path)}`;
    if (offset === undefined) return { where: `${file}${field}` };
    const { line } = lines.linePos(offset);
    return { where: `${file}:${line}${field}`, line };
  };
}

/** Where the field starts, or the nearest thing around it that was written. */
function offsetOf(document: Document.Parsed, path: FieldPath): number | undefined {
  let at: unknown = document.contents;
  let offset = document.contents?.range?.[0];
  for (const part of path) {
    const { written, value } = childOf(isAlias(at) ? at.resolve(document) : at, part);
    offset = written?.range?.[0] ?? offset;
    if (!isNode(value)) return offset;
    at = value;
  }
  return offset;
}

/** `written` is what the reader looks for: of a mapping the key, because its value may begin on the next line. */
function childOf(parent: unknown, part: string | number): { readonly written?: Node; readonly value?: unknown } {
  if (isSeq(parent) && typeof part === "number") {
    const item = parent.items[part];
    return isNode(item) ? { written: item, value: item } : {};
  }
  if (!isMap(parent)) return {};
  const pair = parent.items.find(({ key }) => isScalar(key) && key.value === part);
  return isNode(pair?.key) ? { written: pair.key, value: pair.value } : {};
}
