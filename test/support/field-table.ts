// SPDX-License-Identifier: Apache-2.0
/** JSON Schemas and commands as the tables of the reference. */
import type { CommandSpec, OptionSpec } from "../../src/cli/command-spec.ts";

interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly format?: string;
  readonly additionalProperties?: Schema | boolean;
}

/** One row for every field, those of mappings below them; the third column is left out without any default. */
export function fieldTable(schemaText: string): string {
  const rows = rowsOf(JSON.parse(schemaText) as Schema, "");
  const withDefault = rows.some((row) => row[2] !== "");
  const head = withDefault ? ["field", "value", "default", "meaning"] : ["field", "value", "meaning"];
  return markdown(head, withDefault ? rows : rows.map((row) => row.toSpliced(2, 1)));
}

export function commandReference(spec: CommandSpec): string {
  const words = spec.arguments.map(({ metavar, variadic }) => (variadic === true ? `-- ${metavar}…` : metavar));
  const usage = ["shunt", spec.name, ...(spec.options.length > 0 ? ["[options]"] : []), ...words].join(" ");
  const sections = [
    `## shunt ${spec.name}`,
    `${spec.summary[0]?.toUpperCase()}${spec.summary.slice(1)}.`,
    `    ${usage}`,
    ...spec.description,
  ];
  if (spec.options.length > 0) sections.push(markdown(["option", "meaning"], spec.options.map(optionRow)));
  sections.push(["```sh", ...spec.examples, "```"].join("\n"));
  return sections.join("\n\n");
}

function optionRow(option: OptionSpec): string[] {
  const names = option.short === undefined ? option.long : `${option.short}, ${option.long}`;
  if (option.kind === "switch") return [code(names), option.description];
  const choices = option.choices === undefined ? "" : `; one of ${option.choices.map(code).join(", ")}`;
  const again = option.repeatable === true ? "; may be given again" : "";
  return [code(`${names} ${option.metavar}`), `${option.description}${choices}${again}`];
}

function rowsOf(schema: Schema, prefix: string): string[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = prefix === "" ? name : `${prefix}.${name}`;
    const inner = field.items?.properties !== undefined ? rowsOf(field.items, `${path}[]`) : rowsOf(field, path);
    const given = field.default === undefined ? "" : code(JSON.stringify(field.default));
    return [[code(path), typeOf(field), given, field.description ?? ""], ...inner];
  });
}

function typeOf(schema: Schema): string {
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map(typeOf))].join(" or ");
  if (schema.enum !== undefined) return schema.enum.map((value) => code(String(value))).join(", ");
  if (schema.const !== undefined) return code(JSON.stringify(schema.const));
  if (schema.type === "array")
    return schema.items?.properties === undefined ? `list of ${typeOf(schema.items ?? {})}` : "list";
  if (schema.type === "object") return typeof schema.additionalProperties === "object" ? "mapping by name" : "mapping";
  return schema.format === "date-time" ? "RFC 3339 time" : [schema.type ?? "any"].flat().join(" or ");
}

function code(text: string): string {
  return `\`${text}\``;
}

export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
