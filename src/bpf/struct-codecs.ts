// SPDX-License-Identifier: Apache-2.0
/** Structures with a better form in TypeScript than an object of their fields, by their C name. */
import { isIP } from "node:net";
import { formatIp, writeIp } from "../util/ip.ts";
import type { Codec } from "./codec.ts";
import { badValue, CodecError } from "./codec-error.ts";

type StructCodecFactory = (field: string, size: number) => Codec<unknown>;

export const structCodecs: ReadonlyMap<string, StructCodecFactory> = new Map([["ip_addr", ipAddrCodec]]);

/** The TypeScript type of each, for the generator. */
export const structCodecTypes: ReadonlyMap<string, string> = new Map([["ip_addr", "string"]]);

/** Canonical text: "10.0.0.1" for a v4-mapped address, RFC 5952 for others. */
function ipAddrCodec(field: string, size: number): Codec<unknown> {
  if (size !== 16) throw new CodecError("ERR_BPF_LAYOUT", `${field}: struct ip_addr has ${size} bytes, not 16`);
  return {
    size,
    encode(view, offset, value) {
      if (typeof value !== "string" || isIP(value) === 0 || value.includes("%")) {
        throw badValue(field, value, "an IP address");
      }
      writeIp(value, new Uint8Array(view.buffer, view.byteOffset, view.byteLength), offset);
    },
    decode: (view, offset) => formatIp(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), offset),
  };
}
