// SPDX-License-Identifier: Apache-2.0
/** The JSON Schemas of docs/schemas, made from the schemas the program itself checks with. */
import { z } from "zod";
import { probeSchema } from "./formats/probe.ts";
import { recordSchema } from "./formats/record.ts";
import { rulesSchema } from "./formats/rules.ts";
import { statusSchema } from "./formats/status.ts";
import { agentSchema } from "./schema/config.ts";

export const DOCUMENTED_SCHEMAS = {
  config: agentSchema.meta({ title: "Shunt configuration", description: "The file of `shunt run --config`." }),
  record: recordSchema,
  probe: probeSchema,
  rules: rulesSchema,
  status: statusSchema,
} as const;

export type DocumentedSchema = keyof typeof DOCUMENTED_SCHEMAS;

/** JSON Schema draft 2020-12, as text with two spaces of indent and a line break at the end. */
export function jsonSchemaText(name: DocumentedSchema): string {
  // The side of the writer: fields with a default need not be there, and readers bear fields added later.
  return `${JSON.stringify(z.toJSONSchema(DOCUMENTED_SCHEMAS[name], { io: "input", override: simplify }), null, 2)}\n`;
}

/** Takes away what zod adds for its own sake: the calendar as a pattern, and the bounds of JavaScript's integers. */
function simplify({ jsonSchema }: { readonly jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (jsonSchema.format === "date-time") delete jsonSchema.pattern;
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
}
