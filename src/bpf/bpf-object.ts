// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import type { MapDescription, NativeMap, NativeObject, NativeProgram, ProgramDescription } from "../native/addon.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { ShuntError } from "../util/shunt-error.ts";
import { BtfTypes } from "./btf-types.ts";
import { type Codec, codecFor } from "./codec.ts";
import type { Maps, Structs } from "./generated/types.ts";
import { mapCodec } from "./map-codec.ts";
import type { MapPool } from "./map-pool.ts";
import { TypedMap } from "./typed-map.ts";
import { VerifierError } from "./verifier-error.ts";

/** The object file has no program, map or structure of this name. */
export class BpfObjectError extends ShuntError<"ERR_BPF_UNKNOWN_NAME"> {}

export interface LoadOptions {
  /** Maps in it are used instead of new ones; handles on those that are created are added to it. */
  readonly pool?: MapPool;
  /** Verifier log level; libbpf asks again with 1 by itself when a program is refused. */
  readonly logLevel?: number;
}

/**
 * A BPF object file: inert when opened, in the kernel once loaded. Owns the maps and programs it gives out:
 * they are the same on every call and closed with the object. Links and pins live on by themselves.
 */
export class BpfObject implements Disposable {
  readonly name: string;
  readonly types: BtfTypes;
  readonly #native: NativeObject;
  /** As the file has them: libbpf forgets the types of a map (SOCKMAP and others) whose kind takes no BTF. */
  readonly #declared: readonly MapDescription[];
  readonly #omitted = new Set<string>();
  #selected: ReadonlySet<string> | undefined;
  readonly #typedMaps = new Map<string, Disposable>();
  readonly #nativeMaps = new Map<string, NativeMap>();
  readonly #programs = new Map<string, NativeProgram>();

  private constructor(name: string, native: NativeObject) {
    this.name = name;
    this.#native = native;
    this.types = new BtfTypes(native.btf());
    this.#declared = native.maps();
  }

  /** Reads a file, or takes its bytes; the kernel is not asked anything. `name` is for messages. */
  static open(source: string | Uint8Array, name?: string): BpfObject {
    const title = name ?? (typeof source === "string" ? basename(source, ".bpf.o") : "object");
    const bytes = typeof source === "string" ? readFileSync(source) : source;
    return new BpfObject(title, check(loadAddon().openObject(bytes, title), "bpf_object__open_mem", title));
  }

  /** Maps that the file declares, compiler-made data sections (".rodata") excluded. */
  maps(): MapDescription[] {
    return this.#declared.filter((map) => !map.name.includes("."));
  }

  programs(): ProgramDescription[] {
    return this.#native.programs();
  }

  /** Whether the program is one of those that are loaded. */
  isSelected(program: string): boolean {
    return this.#selected?.has(program) ?? true;
  }

  /** Loads these programs and no other. */
  selectPrograms(names: Iterable<string>): this {
    const wanted = new Set(names);
    this.#selected = new Set(wanted);
    for (const { name } of this.programs()) {
      check(this.#native.setAutoload(name, wanted.delete(name)), "bpf_program__set_autoload", name);
    }
    for (const name of wanted) throw this.#unknown("program", name);
    return this;
  }

  /** Leaves maps out that no selected program uses, for kernels that lack their type. */
  omitMaps(names: Iterable<string>): this {
    for (const name of names) {
      this.#describe(name);
      check(this.#native.setAutocreate(name, false), "bpf_map__set_autocreate", name);
      this.#omitted.add(name);
    }
    return this;
  }

  setMaxEntries(map: string, entries: number): this {
    this.#describe(map);
    check(this.#native.setMaxEntries(map, entries), "bpf_map__set_max_entries", `${map}: ${entries} entries`);
    return this;
  }

  /** Creates the maps and loads the programs. Throws a VerifierError with the kernel's reasons, or a SystemError. */
  load(options: LoadOptions = {}): void {
    const { pool, logLevel = 0 } = options;
    if (pool) this.#reuse(pool);
    const { status, log } = this.#native.load(logLevel);
    try {
      check(status, "bpf_object__load", this.name);
    } catch (cause) {
      throw log === "" ? cause : new VerifierError(this.name, log, { cause });
    }
    if (pool) this.#contribute(pool);
  }

  map<Name extends keyof Maps>(name: Name): TypedMap<Name> {
    const known = this.#typedMaps.get(name);
    if (known) return known as TypedMap<Name>;
    const codec = mapCodec(this.types, this.#describe(name));
    if (codec === undefined) throw this.#unknown("map with key and value types", name);
    const map = new TypedMap(name, this.nativeMap(name), codec);
    this.#typedMaps.set(name, map);
    return map;
  }

  /** A map without its types: for ring buffers, and links to maps. */
  nativeMap(name: string): NativeMap {
    const known = this.#nativeMaps.get(name);
    if (known) return known;
    const map = this.#duplicateMap(name);
    this.#nativeMaps.set(name, map);
    return map;
  }

  program(name: string): NativeProgram {
    const known = this.#programs.get(name);
    if (known) return known;
    if (!this.programs().some((program) => program.name === name)) throw this.#unknown("program", name);
    const program = check(this.#native.program(name), "bpf_program__fd", `${this.name}: program ${name}`);
    this.#programs.set(name, program);
    return program;
  }

  /** The codec of a structure, by its C name: for ring-buffer records and program contexts. */
  struct<Name extends keyof Structs>(name: Name): Codec<Structs[Name]> {
    const id = this.types.structId(name);
    if (id === undefined) throw this.#unknown("structure", name);
    return codecFor(this.types, id, name) as Codec<Structs[Name]>;
  }

  close(): void {
    for (const map of this.#nativeMaps.values()) map.close();
    for (const program of this.#programs.values()) program.close();
    this.#native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #reuse(pool: MapPool): void {
    for (const declared of this.maps()) {
      const map = this.#omitted.has(declared.name) ? undefined : pool.matching(declared);
      if (map) check(this.#native.reuseMap(declared.name, map), "bpf_map__reuse_fd", declared.name);
    }
  }

  #contribute(pool: MapPool): void {
    for (const { name } of this.maps()) {
      if (!this.#omitted.has(name) && pool.get(name) === undefined) pool.add(name, this.#duplicateMap(name));
    }
  }

  #duplicateMap(name: string): NativeMap {
    this.#describe(name);
    return check(this.#native.map(name), "bpf_map__fd", `${this.name}: map ${name}`);
  }

  #describe(name: string): MapDescription {
    const found = this.#declared.find((map) => map.name === name);
    if (found === undefined) throw this.#unknown("map", name);
    return found;
  }

  #unknown(what: string, name: string): BpfObjectError {
    return new BpfObjectError("ERR_BPF_UNKNOWN_NAME", `${this.name} has no ${what} ${JSON.stringify(name)}`);
  }
}
