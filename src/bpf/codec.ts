// SPDX-License-Identifier: Apache-2.0
/**
 * Compiles a BTF type into an encoder and decoder. What C declares is what TypeScript sees:
 * integers are numbers, 8-byte ones bigints; __be16 and its like are big endian, all else little endian
 * (libbpf refuses objects of the other byte order, and Shunt builds for little-endian machines);
 * enumerations are strings; structures are objects with camelCase fields, unless `structCodecs` knows
 * a better form.
 */
import type { BtfType } from "../native/addon.ts";
import { type BtfTypes, camelCase, enumerators, PADDING_FIELD } from "./btf-types.ts";
import { badValue, CodecError } from "./codec-error.ts";
import { structCodecs } from "./struct-codecs.ts";

export interface Codec<T> {
  /** Bytes. */
  readonly size: number;
  /** Throws a CodecError that names field and value. */
  encode(view: DataView, offset: number, value: T): void;
  decode(view: DataView, offset: number): T;
}

/** `field` is what errors call the value: "workloads.value". */
export function codecFor(types: BtfTypes, id: number, field: string): Codec<unknown> {
  const { type, networkOrder } = types.resolve(id);
  const size = type.size ?? 0;
  switch (type.kind) {
    case "INT":
      return size === 8 ? bigintCodec(field, type, networkOrder) : intCodec(field, type, networkOrder);
    case "ENUM":
      return enumCodec(field, type);
    case "ARRAY":
      return arrayCodec(codecFor(types, type.typeId ?? 0, `${field}[]`), type.length ?? 0, field);
    case "STRUCT":
      return structCodecs.get(type.name)?.(field, size) ?? structCodec(types, type, field);
    default:
      throw new CodecError("ERR_BPF_LAYOUT", `${field}: a BTF ${type.kind} (${type.name}) cannot be shared with a map`);
  }
}

function intCodec(field: string, type: BtfType, bigEndian: boolean): Codec<unknown> {
  const size = type.size ?? 0;
  if (size !== 1 && size !== 2 && size !== 4) {
    throw new CodecError("ERR_BPF_LAYOUT", `${field}: no integer has ${size} bytes`);
  }
  const bits = 8 * size;
  const least = type.signed ? -(2 ** (bits - 1)) : 0;
  const greatest = type.signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const decode = intDecoder(size, type.signed ?? false, !bigEndian);
  return {
    size,
    encode(view, offset, value) {
      if (!Number.isInteger(value) || (value as number) < least || (value as number) > greatest) {
        throw badValue(field, value, `an integer from ${least} to ${greatest}`);
      }
      // Two's complement: the setters take any number modulo the width.
      if (size === 1) view.setUint8(offset, value as number);
      else if (size === 2) view.setUint16(offset, value as number, !bigEndian);
      else view.setUint32(offset, value as number, !bigEndian);
    },
    decode,
  };
}

function intDecoder(size: 1 | 2 | 4, signed: boolean, little: boolean): (view: DataView, offset: number) => number {
  if (size === 1) return signed ? (view, at) => view.getInt8(at) : (view, at) => view.getUint8(at);
  if (size === 2) return signed ? (view, at) => view.getInt16(at, little) : (view, at) => view.getUint16(at, little);
  return signed ? (view, at) => view.getInt32(at, little) : (view, at) => view.getUint32(at, little);
}

function bigintCodec(field: string, type: BtfType, bigEndian: boolean): Codec<unknown> {
  const signed = type.signed ?? false;
  const wrap = (value: bigint): bigint => (signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value));
  return {
    size: 8,
    encode(view, offset, value) {
      if (typeof value !== "bigint" || wrap(value) !== value) {
        throw badValue(field, value, `a bigint of 64 bits, ${signed ? "signed" : "unsigned"}`);
      }
      view.setBigUint64(offset, value, !bigEndian);
    },
    decode: signed
      ? (view, offset) => view.getBigInt64(offset, !bigEndian)
      : (view, offset) => view.getBigUint64(offset, !bigEndian),
  };
}

function enumCodec(field: string, type: BtfType): Codec<unknown> {
  if (type.size !== 4) throw new CodecError("ERR_BPF_LAYOUT", `${field}: enum ${type.name} has ${type.size} bytes`);
  const entries = enumerators(type);
  const toValue = new Map<unknown, number>(entries.map((e) => [e.name, e.value]));
  const toName = new Map(entries.map((e) => [e.value >>> 0, e.name]));
  return {
    size: 4,
    encode(view, offset, name) {
      const value = toValue.get(name);
      if (value === undefined) throw badValue(field, name, `one of ${[...toValue.keys()].join(", ")}`);
      view.setUint32(offset, value, true);
    },
    decode(view, offset) {
      const value = view.getUint32(offset, true);
      const name = toName.get(value);
      if (name === undefined) throw badValue(field, value, `a value of enum ${type.name}`);
      return name;
    },
  };
}

function arrayCodec(item: Codec<unknown>, length: number, field: string): Codec<unknown> {
  return {
    size: item.size * length,
    encode(view, offset, values) {
      if (!Array.isArray(values) || values.length !== length) throw badValue(field, values, `an array of ${length}`);
      for (let i = 0; i < length; i++) item.encode(view, offset + i * item.size, values[i]);
    },
    decode: (view, offset) => Array.from({ length }, (_, i) => item.decode(view, offset + i * item.size)),
  };
}

interface Field {
  readonly name: string;
  readonly at: number;
  readonly codec: Codec<unknown>;
}

function structCodec(types: BtfTypes, type: BtfType, path: string): Codec<unknown> {
  const size = type.size ?? 0;
  const fields: Field[] = [];
  for (const member of type.members ?? []) {
    if (member.bitSize !== 0 || member.bitOffset % 8 !== 0) {
      throw new CodecError("ERR_BPF_LAYOUT", `${path}.${member.name}: bit-fields cannot be shared with a map`);
    }
    if (member.name === PADDING_FIELD) continue;
    const name = camelCase(member.name);
    fields.push({ name, at: member.bitOffset / 8, codec: codecFor(types, member.typeId, `${path}.${name}`) });
  }
  return {
    size,
    encode(view, offset, value) {
      if (typeof value !== "object" || value === null) throw badValue(path, value, `an object (struct ${type.name})`);
      // Hash keys are compared byte by byte, so that padding must be zero.
      new Uint8Array(view.buffer, view.byteOffset + offset, size).fill(0);
      for (const { name, at, codec } of fields) {
        codec.encode(view, offset + at, (value as Record<string, unknown>)[name]);
      }
    },
    decode(view, offset) {
      const value: Record<string, unknown> = {};
      for (const { name, at, codec } of fields) value[name] = codec.decode(view, offset + at);
      return value;
    },
  };
}
