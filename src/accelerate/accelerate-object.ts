// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from "node:url";
import { BpfObject } from "../bpf/bpf-object.ts";
import type { Codec } from "../bpf/codec.ts";
import type { Structs } from "../bpf/generated/types.ts";
import { type MapCodec, mapCodec } from "../bpf/map-codec.ts";

/** The same path from src/accelerate (tsx, vitest) and from dist/accelerate. */
const pathOf = (name: string): string => fileURLToPath(new URL(`../../bpf/build/${name}.bpf.o`, import.meta.url));

/** The object of bpf/accelerate.bpf.c, not loaded yet. */
export function openAccelerateObject(): BpfObject {
  return BpfObject.open(pathOf("accelerate"));
}

interface Layouts {
  readonly request: Codec<Structs["accel_request"]>;
  readonly flows: MapCodec;
}

let layouts: Layouts | undefined;

/** How requests and flows lie in memory, for threads that load nothing. Read once. */
export function accelerateLayouts(): Layouts {
  if (layouts) return layouts;
  using declared = BpfObject.open(pathOf("layouts"));
  using object = openAccelerateObject();
  const map = object.maps().find(({ name }) => name === "accel_flows");
  const flows = map && mapCodec(object.types, map);
  if (!flows) throw new TypeError("accel_flows has no types");
  layouts = { request: declared.struct("accel_request"), flows };
  return layouts;
}
