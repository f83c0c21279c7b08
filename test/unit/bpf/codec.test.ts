// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { BtfTypes } from "../../../src/bpf/btf-types.ts";
import { codecFor } from "../../../src/bpf/codec.ts";
import { CodecError } from "../../../src/bpf/codec-error.ts";
import type { BtfType } from "../../../src/native/addon.ts";

/** What clang says about a structure with one member of every kind. */
const types: readonly BtfType[] = [
  { id: 1, kind: "INT", name: "unsigned short", size: 2, signed: false },
  { id: 2, kind: "TYPEDEF", name: "__u16", typeId: 1 },
  { id: 3, kind: "TYPEDEF", name: "__be16", typeId: 2 },
  { id: 4, kind: "INT", name: "unsigned long long", size: 8, signed: false },
  { id: 5, kind: "INT", name: "int", size: 4, signed: true },
  {
    id: 6,
    kind: "ENUM",
    name: "fruit",
    size: 4,
    values: [
      { name: "FRUIT_RED_APPLE", value: 0 },
      { name: "FRUIT_PEAR", value: 1 },
      { name: "FRUIT_MAX", value: 2 },
    ],
  },
  { id: 7, kind: "ARRAY", name: "", typeId: 2, length: 2 },
  {
    id: 8,
    kind: "STRUCT",
    name: "sample",
    size: 28,
    members: [
      { name: "big_one", typeId: 4, bitOffset: 0, bitSize: 0 },
      { name: "port", typeId: 3, bitOffset: 64, bitSize: 0 },
      { name: "unused", typeId: 2, bitOffset: 80, bitSize: 0 },
      { name: "delta", typeId: 5, bitOffset: 96, bitSize: 0 },
      { name: "fruit", typeId: 6, bitOffset: 128, bitSize: 0 },
      { name: "pair", typeId: 7, bitOffset: 160, bitSize: 0 },
      { name: "last", typeId: 2, bitOffset: 192, bitSize: 0 },
    ],
  },
  { id: 9, kind: "PTR", name: "", typeId: 8 },
  { id: 10, kind: "STRUCT", name: "bits", size: 4, members: [{ name: "flag", typeId: 5, bitOffset: 0, bitSize: 3 }] },
];

const sample = codecFor(new BtfTypes(types), 8, "sample");
const value = { bigOne: 1n, port: 0x1234, delta: -2, fruit: "pear", pair: [1, 0x0203], last: 9 };

function encoded(thing: unknown): Uint8Array {
  const bytes = new Uint8Array(sample.size).fill(0xaa);
  sample.encode(new DataView(bytes.buffer), 0, thing);
  return bytes;
}

describe("codec", () => {
  it("writes network order for __be16 and host order for the rest, and zeroes the padding", () => {
    expect(Buffer.from(encoded(value)).toString("hex")).toBe(
      ["0100000000000000", "1234", "0000", "feffffff", "01000000", "0100", "0302", "0900", "0000"].join(""),
    );
  });

  it("reads what it wrote, without the padding", () => {
    expect(sample.decode(new DataView(encoded(value).buffer), 0)).toEqual(value);
  });

  it.each([
    ["sample.port: 65536 is not an integer from 0 to 65535", { port: 65536 }],
    ["sample.port: 1.5 is not an integer", { port: 1.5 }],
    ["sample.port: undefined is not an integer", { port: undefined }],
    ["sample.delta: 2147483648 is not an integer from -2147483648 to 2147483647", { delta: 2 ** 31 }],
    ["sample.bigOne: 18446744073709551616n is not a bigint of 64 bits, unsigned", { bigOne: 2n ** 64n }],
    ["sample.bigOne: -1n is not", { bigOne: -1n }],
    ["sample.bigOne: 1 is not a bigint", { bigOne: 1 }],
    ['sample.fruit: "max" is not one of red-apple, pear', { fruit: "max" }],
    ["sample.pair: an array of 1 is not an array of 2", { pair: [1] }],
    ["sample.pair[]: 70000 is not", { pair: [1, 70000] }],
  ])("refuses a value that does not fit: %s", (message, change) => {
    expect(() => encoded({ ...value, ...change })).toThrow(CodecError);
    expect(() => encoded({ ...value, ...change })).toThrow(message);
  });

  it("refuses bytes that are no value of an enumeration, by name and number", () => {
    const bytes = encoded(value);
    bytes[16] = 2;
    expect(() => sample.decode(new DataView(bytes.buffer), 0)).toThrow("sample.fruit: 2 is not a value of enum fruit");
  });

  it("refuses pointers and bit-fields when it is made, not when it is used", () => {
    expect(() => codecFor(new BtfTypes(types), 9, "key")).toThrow("key: a BTF PTR () cannot be shared with a map");
    expect(() => codecFor(new BtfTypes(types), 10, "key")).toThrow("key.flag: bit-fields cannot be shared");
    expect(() => codecFor(new BtfTypes(types), 99, "key")).toThrow("BTF type 99 is missing");
  });

  it("refuses an enumerator without the name of its enumeration", () => {
    const loose: BtfType = { id: 1, kind: "ENUM", name: "fruit", size: 4, values: [{ name: "APPLE", value: 0 }] };
    expect(() => codecFor(new BtfTypes([loose]), 1, "key")).toThrow("enumerator APPLE does not start with FRUIT_");
  });
});
