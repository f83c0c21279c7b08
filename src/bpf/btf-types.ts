// SPDX-License-Identifier: Apache-2.0
/** Questions that both the run-time codec and the generator of the TypeScript types ask of BTF. */
import type { BtfType } from "../native/addon.ts";
import { CodecError } from "./codec-error.ts";

const ALIASES = new Set(["TYPEDEF", "CONST", "VOLATILE", "RESTRICT", "TYPE_TAG"]);
const NETWORK_ORDER = new Set(["__be16", "__be32", "__be64"]);

/** Members of this name are padding made explicit: written as zero, never shown. */
export const PADDING_FIELD = "unused";

export interface Resolved {
  readonly type: BtfType;
  /** Declared by way of __be16, __be32 or __be64. */
  readonly networkOrder: boolean;
}

export class BtfTypes {
  readonly all: readonly BtfType[];
  readonly #byId: ReadonlyMap<number, BtfType>;

  constructor(types: readonly BtfType[]) {
    this.all = types;
    this.#byId = new Map(types.map((type) => [type.id, type]));
  }

  /** The type behind typedefs and qualifiers. */
  resolve(id: number): Resolved {
    let networkOrder = false;
    for (let type = this.#byId.get(id); type !== undefined; type = this.#byId.get(type.typeId ?? 0)) {
      if (!ALIASES.has(type.kind)) return { type, networkOrder };
      networkOrder ||= NETWORK_ORDER.has(type.name);
    }
    throw new CodecError("ERR_BPF_LAYOUT", `BTF type ${id} is missing`);
  }

  /** The id of a structure by its C name, or undefined. */
  structId(name: string): number | undefined {
    return this.all.find((type) => type.kind === "STRUCT" && type.name === name)?.id;
  }
}

export function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

export interface Enumerator {
  /** Kebab-case, without the name of the enumeration: REASON_PORT_EXCLUDED → "port-excluded". */
  readonly name: string;
  readonly value: number;
}

/** Values of an enumeration. REASON_MAX of `enum reason` is a count, not a value, and left out. */
export function enumerators(type: BtfType): Enumerator[] {
  const prefix = `${type.name.toUpperCase()}_`;
  return (type.values ?? [])
    .filter(({ name }) => name !== `${prefix}MAX`)
    .map(({ name, value }) => {
      if (type.name === "" || !name.startsWith(prefix)) {
        throw new CodecError("ERR_BPF_LAYOUT", `enumerator ${name} does not start with ${prefix}`);
      }
      return { name: name.slice(prefix.length).toLowerCase().replaceAll("_", "-"), value };
    });
}
