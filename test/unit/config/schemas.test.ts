// SPDX-License-Identifier: Apache-2.0
import { describe, expect, expectTypeOf, it } from "vitest";
import type { z } from "zod";
import { probeSchema } from "../../../src/config/formats/probe.ts";
import { type OUTCOMES, recordSchema } from "../../../src/config/formats/record.ts";
import { DOCUMENTED_SCHEMAS, type DocumentedSchema, jsonSchemaText } from "../../../src/config/json-schema.ts";
import type { ConnectionRecord, Outcome } from "../../../src/proxy/connection-record.ts";
import { expectCommitted, expectCommittedPart } from "../../support/committed-file.ts";
import { fieldTable } from "../../support/field-table.ts";

const names = Object.keys(DOCUMENTED_SCHEMAS) as DocumentedSchema[];

it.each(names)("docs/schemas/%s.schema.json is the schema the program checks with", (name) => {
  expectCommitted(`docs/schemas/${name}.schema.json`, jsonSchemaText(name));
});

it.each([
  ["docs/configuration.md", "config"],
  ["docs/record.md", "record"],
  ["docs/status.md", "status"],
  ["docs/status.md", "probe"],
  ["docs/rules.md", "rules"],
] as const)("%s lists every field of the %s", (file, name) => {
  expectCommittedPart(file, `fields of ${name}`, fieldTable(jsonSchemaText(name)));
});

describe("the schema of the record", () => {
  // Whoever adds a field to one and not to the other is stopped by the compiler here.
  it("has the fields of the record the proxy writes", () => {
    expectTypeOf<Readonly<z.infer<typeof recordSchema>>>().toEqualTypeOf<ConnectionRecord>();
    expectTypeOf<(typeof OUTCOMES)[number]>().toEqualTypeOf<Outcome>();
  });

  const record: ConnectionRecord = {
    time: "2026-11-20T10:00:00.000Z",
    id: "1-1",
    direction: "outbound",
    source: "[::1]:40000",
    originalDestination: "10.0.0.1:80",
    upstream: null,
    bytesSent: 0,
    bytesReceived: 12,
    durationMs: 0.5,
    outcome: "connect-failed",
    detail: "ECONNREFUSED",
    interception: "ebpf",
    workload: "a",
  };

  it("accepts a record, and one with fields of a later version", () => {
    expect(recordSchema.safeParse({ ...record, protocol: "h2" }).success).toBe(true);
  });

  it.each([
    { source: "::1:80" },
    { originalDestination: "localhost:80" },
    { outcome: "fine" },
    { bytesSent: -1 },
    { time: "now" },
  ])("refuses one with %o", (wrong) => {
    expect(recordSchema.safeParse({ ...record, ...wrong }).success).toBe(false);
  });
});

it("the schema of the probe has the fields that scripts rely on", () => {
  const fields = ["mode", "outbound", "inbound", "originalDestination", "tier", "reason", "features"];
  expect(Object.keys(probeSchema.shape)).toEqual(expect.arrayContaining(fields));
});
