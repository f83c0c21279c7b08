// SPDX-License-Identifier: Apache-2.0
/** The built objects: what C declares and what TypeScript makes of it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { renderBpfTypes } from "../../../scripts/gen/bpf-types.ts";
import { BpfObject } from "../../../src/bpf/bpf-object.ts";
import { type BtfTypes, camelCase, enumerators, PADDING_FIELD } from "../../../src/bpf/btf-types.ts";
import { codecFor } from "../../../src/bpf/codec.ts";
import { reasons } from "../../../src/bpf/generated/types.ts";
import { formatIp } from "../../../src/util/ip.ts";

const build = join(import.meta.dirname, "../../../bpf/build");
const objects = readdirSync(build)
  .filter((file) => file.endsWith(".bpf.o") && !["probe.bpf.o", "contract.bpf.o"].includes(file))
  .map((file) => BpfObject.open(join(build, file)));

interface Shared {
  readonly title: string;
  readonly types: BtfTypes;
  readonly id: number;
  readonly size: number;
}

/** Every key and value of every typed map. */
const shared: readonly Shared[] = objects.flatMap((object) =>
  object
    .maps()
    .filter((map) => map.keyTypeId !== 0 && map.valueTypeId !== 0)
    .flatMap((map) => [
      { title: `${object.name}: ${map.name} key`, types: object.types, id: map.keyTypeId, size: map.keySize },
      { title: `${object.name}: ${map.name} value`, types: object.types, id: map.valueTypeId, size: map.valueSize },
    ]),
);

/** Values of a type, independent of the codec. */
function anyValue(types: BtfTypes, id: number): fc.Arbitrary<unknown> {
  const { type } = types.resolve(id);
  if (type.kind === "INT" && type.size === 8) return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  if (type.kind === "INT") return fc.nat({ max: 2 ** (8 * (type.size ?? 0)) - 1 });
  if (type.kind === "ENUM") return fc.constantFrom(...enumerators(type).map((e) => e.name));
  if (type.kind === "ARRAY") {
    const length = type.length ?? 0;
    return fc.array(anyValue(types, type.typeId ?? 0), { minLength: length, maxLength: length });
  }
  if (type.name === "ip_addr") return fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => formatIp(bytes));
  const members = (type.members ?? []).filter((member) => member.name !== PADDING_FIELD);
  return fc.record(Object.fromEntries(members.map((m) => [camelCase(m.name), anyValue(types, m.typeId)])));
}

function sizeOf(types: BtfTypes, id: number): number {
  const { type } = types.resolve(id);
  return type.kind === "ARRAY" ? (type.length ?? 0) * sizeOf(types, type.typeId ?? 0) : (type.size ?? 0);
}

describe("layouts of the built objects", () => {
  it("are found at all", () => {
    expect(shared.length).toBeGreaterThan(20);
  });

  it.each(shared)("$title has the size of the map", ({ types, id, size, title }) => {
    expect(sizeOf(types, id)).toBe(size);
    expect(codecFor(types, id, title).size).toBe(size);
  });

  it.each(shared)("$title has no padding that is not written down", ({ types, id }) => {
    const { type } = types.resolve(id);
    if (type.kind !== "STRUCT") return;
    const sum = (type.members ?? []).reduce((bytes, member) => bytes + sizeOf(types, member.typeId), 0);
    expect(sum).toBe(type.size);
  });

  it.each(shared)("$title comes back as it was written", ({ types, id, title }) => {
    const codec = codecFor(types, id, title);
    fc.assert(
      fc.property(anyValue(types, id), (value) => {
        const view = new DataView(new ArrayBuffer(codec.size + 3));
        codec.encode(view, 3, value);
        expect(codec.decode(view, 3)).toEqual(value);
      }),
      { numRuns: 20 },
    );
  });
});

describe("the generated types", () => {
  const path = join(import.meta.dirname, "../../../src/bpf/generated/types.ts");
  const text = readFileSync(path, "utf8");
  const declared = [...(text.split("export interface Maps {")[1] ?? "").matchAll(/^ {2}readonly (\w+):/gm)].map(
    (m) => m[1],
  );

  it("list exactly the typed maps of the objects", () => {
    const typed = objects.flatMap((object) =>
      object.maps().filter((map) => map.keyTypeId !== 0 && map.valueTypeId !== 0),
    );
    expect(new Set(declared)).toEqual(new Set(typed.map((map) => map.name)));
  });

  it("have the reasons in the order of their values", () => {
    const object = objects.find(({ name }) => name === "connect");
    const type = object?.types.all.find((t) => t.kind === "ENUM" && t.name === "reason");
    expect(type && enumerators(type).map((e) => e.name)).toEqual([...reasons]);
  });

  it("are the same whatever the order of the objects", () => {
    const described = objects.map((object) => ({ name: object.name, types: object.types, maps: object.maps() }));
    expect(renderBpfTypes([...described].reverse())).toBe(renderBpfTypes(described));
  });
});
