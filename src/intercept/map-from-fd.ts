// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from "node:url";
import { BpfObject, BpfObjectError } from "../bpf/bpf-object.ts";
import type { Maps } from "../bpf/generated/types.ts";
import { type MapCodec, mapCodec } from "../bpf/map-codec.ts";
import { TypedMap } from "../bpf/typed-map.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";

/** The same path from src/intercept (tsx, vitest) and from dist/intercept. */
const OBJECT = fileURLToPath(new URL("../../bpf/build/connect.bpf.o", import.meta.url));

const codecs = new Map<string, MapCodec>();

/**
 * A map of the outbound object whose fd another thread of this process holds; the fd is duplicated. For threads
 * that read and write maps but load nothing.
 */
export function mapFromFd<Name extends keyof Maps>(name: Name, fd: number): TypedMap<Name> {
  return new TypedMap(name, check(loadAddon().mapFromFd(fd), "bpf_map dup", `${name}, fd ${fd}`), codecOf(name));
}

function codecOf(name: string): MapCodec {
  const known = codecs.get(name);
  if (known) return known;
  using object = BpfObject.open(OBJECT);
  const declared = object.maps().find((map) => map.name === name);
  const codec = declared && mapCodec(object.types, declared);
  if (!codec) throw new BpfObjectError("ERR_BPF_UNKNOWN_NAME", `${object.name} has no map ${JSON.stringify(name)}`);
  codecs.set(name, codec);
  return codec;
}
