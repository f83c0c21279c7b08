// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from "node:url";
import { BpfObject } from "../bpf/bpf-object.ts";
import type { Codec } from "../bpf/codec.ts";
import type { Structs } from "../bpf/generated/types.ts";
import { type MapCodec, mapCodec } from "../bpf/map-codec.ts";

/** The same path from src/accelerate (tsx, vitest) and from dist/accelerate. */
const pathOf = (name: string): string => fileURLToPath(new URL(`../../bpf/build/${name}.bpf.o`, import.meta.url));

/** The object of bpf/splice.bpf.c, not loaded yet. */
export function openSpliceObject(): BpfObject {
  return BpfObject.open(pathOf("splice"));
}

interface Layouts {
  readonly request: Codec<Structs["splice_request"]>;
  readonly flows: MapCodec;
  readonly ringBytes: number;
}

let layouts: Layouts | undefined;

/** How requests and flows lie in memory, for threads that load nothing. Read once. */
export function spliceLayouts(): Layouts {
  if (layouts) return layouts;
  using declared = BpfObject.open(pathOf("layouts"));
  using object = openSpliceObject();
  const map = object.maps().find(({ name }) => name === "splice_flows");
  const flows = map && mapCodec(object.types, map);
  if (!flows) throw new TypeError("splice_flows has no types");
  layouts = { request: declared.struct("splice_request"), flows, ringBytes: RING_BYTES };
  return layouts;
}

/** SPLICE_RING_BYTES of bpf/include/limits.h: inner maps are as the outer one was declared. */
const RING_BYTES = 262_144;
