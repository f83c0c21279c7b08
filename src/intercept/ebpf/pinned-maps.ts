// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BpfObject } from "../../bpf/bpf-object.ts";
import type { Maps } from "../../bpf/generated/types.ts";
import { mapCodec } from "../../bpf/map-codec.ts";
import { TypedMap } from "../../bpf/typed-map.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import type { PinDirectory } from "./pins.ts";

type ObjectName = "connect" | "inbound";

/** Maps of an instance that is in force, read without loading a program or changing anything. */
export class PinnedMaps implements Disposable {
  readonly #pins: PinDirectory;
  readonly #objects: ReadonlyMap<ObjectName, BpfObject>;
  readonly #opened: Disposable[] = [];

  /** `objects`: directory of the built objects, which say how keys and values are laid out. */
  constructor(pins: PinDirectory, objects: string) {
    this.#pins = pins;
    const open = (name: ObjectName) => [name, BpfObject.open(join(objects, `${name}.bpf.o`))] as const;
    this.#objects = new Map([open("connect"), open("inbound")]);
  }

  /** A map that the instance shares; undefined where nothing is pinned under its name. */
  shared<Name extends keyof Maps>(name: Name): TypedMap<Name> | undefined {
    return this.#open("connect", name, join(this.#pins.maps, name));
  }

  /** A map of one workload's sk_lookup program. */
  own<Name extends keyof Maps>(slot: number, name: Name): TypedMap<Name> | undefined {
    return this.#open("inbound", name, join(this.#pins.workload(slot), name));
  }

  [Symbol.dispose](): void {
    for (const opened of this.#opened) opened[Symbol.dispose]();
    for (const object of this.#objects.values()) object.close();
  }

  #open<Name extends keyof Maps>(objectName: ObjectName, name: Name, path: string): TypedMap<Name> | undefined {
    if (!existsSync(path)) return undefined;
    const objects = [objectName, "inbound"] as const;
    for (const candidate of objects) {
      const object = this.#objects.get(candidate);
      const declared = object?.maps().find((map) => map.name === name);
      const codec = object && declared && mapCodec(object.types, declared);
      if (!codec) continue;
      const map = new TypedMap(name, check(loadAddon().openPinnedMap(path), "bpf_obj_get", path), codec);
      this.#opened.push(map);
      return map;
    }
    throw new ShuntError("ERR_INTERCEPT_OBJECT", `no object declares map ${name}`);
  }
}
