// SPDX-License-Identifier: Apache-2.0
/** Key and value codecs of a map as its object's BTF declares them. */
import type { MapDescription } from "../native/addon.ts";
import type { BtfTypes } from "./btf-types.ts";
import { type Codec, codecFor } from "./codec.ts";
import { badValue, CodecError } from "./codec-error.ts";
import { isPerCpu } from "./map-type.ts";
import { possibleCpus } from "./possible-cpus.ts";

export interface MapCodec {
  readonly key: Codec<unknown>;
  readonly value: Codec<unknown>;
}

/** Undefined for a map without key and value types (ring buffers, and maps of bare sizes). */
export function mapCodec(types: BtfTypes, map: MapDescription): MapCodec | undefined {
  if (map.keyTypeId === 0 || map.valueTypeId === 0) return undefined;
  const key = codecFor(types, map.keyTypeId, `${map.name}.key`);
  const value = codecFor(types, map.valueTypeId, `${map.name}.value`);
  checkSize(`${map.name}.key`, key.size, map.keySize);
  checkSize(`${map.name}.value`, value.size, map.valueSize);
  return { key, value: isPerCpu(map.type) ? perCpu(value, possibleCpus(), `${map.name}.value`) : value };
}

function checkSize(field: string, described: number, declared: number): void {
  if (described === declared) return;
  throw new CodecError("ERR_BPF_LAYOUT", `${field}: BTF describes ${described} bytes, the map has ${declared}`);
}

/** The kernel rounds each CPU's value up to 8 bytes. */
function perCpu(value: Codec<unknown>, cpus: number, field: string): Codec<unknown> {
  const stride = Math.ceil(value.size / 8) * 8;
  return {
    size: stride * cpus,
    encode(view, offset, values) {
      if (!Array.isArray(values) || values.length !== cpus) throw badValue(field, values, `an array of ${cpus}`);
      for (let cpu = 0; cpu < cpus; cpu++) value.encode(view, offset + cpu * stride, values[cpu]);
    },
    decode: (view, offset) => Array.from({ length: cpus }, (_, cpu) => value.decode(view, offset + cpu * stride)),
  };
}
