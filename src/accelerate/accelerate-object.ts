// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from "node:url";
import { BpfObject } from "../bpf/bpf-object.ts";
import type { Codec } from "../bpf/codec.ts";
import type { Structs } from "../bpf/generated/types.ts";
import { type MapCodec, mapCodec } from "../bpf/map-codec.ts";
import { MapPool } from "../bpf/map-pool.ts";

/** The same path from src/accelerate (tsx, vitest) and from dist/accelerate. */
const pathOf = (name: string): string => fileURLToPath(new URL(`../../bpf/build/${name}.bpf.o`, import.meta.url));

/** What the kernel may load, the fastest first: bpf/NAME.bpf.c. They differ in how they read the kernel's memory. */
const VARIANTS = ["accelerate", "accelerate-before-6.2"] as const;

/** The first variant that the kernel loads. Throws what it says of the last one: a VerifierError or SystemError. */
export function loadAccelerateObject(): { readonly object: BpfObject; readonly maps: MapPool } {
  let refused: unknown;
  for (const variant of VARIANTS) {
    const object = BpfObject.open(pathOf(variant));
    const maps = new MapPool();
    try {
      object.load({ pool: maps });
      return { object, maps };
    } catch (error) {
      object.close();
      maps.close();
      refused = error;
    }
  }
  throw refused;
}

/** The object of bpf/leg.bpf.c, not loaded yet. */
export function openLegObject(): BpfObject {
  return BpfObject.open(pathOf("leg"));
}

/** The object of bpf/watch.bpf.c, not loaded yet. */
export function openWatchObject(): BpfObject {
  return BpfObject.open(pathOf("watch"));
}

interface Layouts {
  readonly request: Codec<Structs["accel_request"]>;
  readonly look: Codec<Structs["look_request"]>;
  readonly flows: MapCodec;
  readonly withdrawn: MapCodec;
}

let layouts: Layouts | undefined;

/** How requests and maps lie in memory, for threads that load nothing. Read once. */
export function accelerateLayouts(): Layouts {
  if (layouts) return layouts;
  using declared = BpfObject.open(pathOf("layouts"));
  using object = BpfObject.open(pathOf(VARIANTS[0]));
  const codecOf = (wanted: string): MapCodec => {
    const map = object.maps().find(({ name }) => name === wanted);
    const codec = map && mapCodec(object.types, map);
    if (!codec) throw new TypeError(`${wanted} has no types`);
    return codec;
  };
  const [flows, withdrawn] = [codecOf("accel_flows"), codecOf("accel_withdrawn")];
  layouts = { request: declared.struct("accel_request"), look: declared.struct("look_request"), flows, withdrawn };
  return layouts;
}
