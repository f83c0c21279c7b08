// SPDX-License-Identifier: Apache-2.0
/** What is wrong with a configuration: where, which field, which value, what is allowed. */
import type { z } from "zod";
import { closestName } from "../util/closest-name.ts";
import { ShuntError } from "../util/shunt-error.ts";

export type FieldPath = readonly (string | number)[];

export interface Problem {
  /** `agent.yaml:7: workloads[0].outbound.port: 70000 is not a port (0 … 65535)`. */
  readonly text: string;
  readonly path: FieldPath;
  readonly line?: number;
}

/** Where a field was written. `where` comes before the message: file, line and path, or the name of a flag. */
export type Locate = (path: FieldPath) => { readonly where: string; readonly line?: number };

export type Parsed<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** All problems of a configuration, one a line. */
export class ConfigError extends ShuntError<"ERR_CONFIG_INVALID" | "ERR_CONFIG_READ"> {
  readonly problems: readonly Problem[];

  constructor(code: "ERR_CONFIG_INVALID" | "ERR_CONFIG_READ", problems: readonly Problem[], options?: ErrorOptions) {
    super(code, problems.map((problem) => problem.text).join("\n"), options);
    this.problems = problems;
  }
}

/** `workloads[0].outbound.port`. */
export function formatPath(path: FieldPath): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (!/^[A-Za-z_]\w*$/.test(part)) text += `[${JSON.stringify(part)}]`;
    else text += text === "" ? part : `.${part}`;
  }
  return text;
}

export function problemAt(path: FieldPath, message: string, locate: Locate): Problem {
  const { where, line } = locate(path);
  return { text: `${where}: ${message}`, path, ...(line === undefined ? {} : { line }) };
}

/** Every issue of a failed parse, unions taken apart and unknown fields one by one, in the order of the file. */
export function problemsOf(error: z.ZodError, schema: z.ZodType, locate: Locate): Problem[] {
  const problems = error.issues
    .flatMap((issue) => simpleIssues(issue, []))
    .flatMap(({ issue, path }) => {
      if (issue.code !== "unrecognized_keys") return [problemAt(path, messageOf(issue), locate)];
      return issue.keys.map((key) => problemAt([...path, key], unknownField(key, fieldsAt(schema, path)), locate));
    });
  return inFileOrder(problems);
}

export function inFileOrder(problems: readonly Problem[]): Problem[] {
  return [...problems].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
}

interface Located {
  readonly issue: z.core.$ZodIssue;
  readonly path: FieldPath;
}

/** A union says which of its branches failed how; the branch that got furthest is the one that was meant. */
function simpleIssues(issue: z.core.$ZodIssue, base: FieldPath): Located[] {
  const path = [...base, ...issue.path.map((part) => (typeof part === "symbol" ? String(part) : part))];
  if (issue.code !== "invalid_union") return [{ issue, path }];
  const entered = issue.errors.find((branch) => branch.length > 0 && branch.every((inner) => inner.path.length > 0));
  return entered === undefined ? [{ issue, path }] : entered.flatMap((inner) => simpleIssues(inner, path));
}

function messageOf(issue: z.core.$ZodIssue): string {
  const absent = issue.code === "invalid_type" && issue.input === undefined;
  return absent ? "is missing" : issue.message;
}

function unknownField(key: string, known: readonly string[]): string {
  const near = closestName(key, known);
  return `unknown field${near === undefined ? ` (known: ${known.join(", ")})` : `, did you mean ${near}?`}`;
}

/** The field names a mapping of the schema may have at `path`. */
function fieldsAt(schema: z.ZodType, path: FieldPath): readonly string[] {
  let at: z.ZodType | undefined = schema;
  for (const part of path) {
    const def = inner(at);
    at = typeof part === "number" ? (def as z.ZodArray<z.ZodType>).element : (def as z.ZodObject).shape[part];
    if (at === undefined) return [];
  }
  return Object.keys((inner(at) as z.ZodObject).shape ?? {});
}

function inner(schema: z.ZodType): z.ZodType {
  return "unwrap" in schema && schema.type === "optional" ? (schema as z.ZodOptional<z.ZodType>).unwrap() : schema;
}
