// SPDX-License-Identifier: Apache-2.0
import { fstatSync, readSync } from "node:fs";

/** Part of a file. */
export interface Extent {
  readonly offset: number;
  readonly size: number;
}

interface Section extends Extent {
  readonly name: string;
  readonly type: number;
  readonly link: number;
}

/** elf(5) and /usr/include/elf.h. */
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_NEEDED = 1;
const DT_STRTAB = 5;
const DT_STRSZ = 10;
const SHT_SYMTAB = 2;
const SHT_NOBITS = 8;
const SHT_DYNSYM = 11;
const SHN_UNDEF = 0;

/** What is larger is not read: the answer is then "unknown". Node's own tables have 7 MiB. */
const LARGEST_TABLE = 64 * 1024 * 1024;
const MOST_HEADERS = 4096;

/** Not an ELF file of this kind, damaged, or larger than anything sane. */
export class ElfError extends Error {}

/** Places of the fields that matter, by ELFCLASS. */
const LAYOUTS = {
  64: { ehdr: 64, phoff: 32, shoff: 40, counts: 54, phdr: 56, shdr: 64, sym: 24, shndx: 6, dyn: 16 },
  32: { ehdr: 52, phoff: 28, shoff: 32, counts: 42, phdr: 32, shdr: 40, sym: 16, shndx: 14, dyn: 8 },
} as const;

/**
 * The tables of a little-endian ELF file: which symbols it imports and which sections it has. Reads only them, and
 * only within bounds. The descriptor stays the caller's.
 */
export class ElfImage {
  readonly #fd: number;
  readonly #length: number;
  readonly #wide: boolean;
  readonly #layout: (typeof LAYOUTS)[64 | 32];
  readonly #sections: readonly Section[];
  readonly #dynamicNames: Buffer | undefined;
  /** Names a library that it needs. */
  readonly needsLibraries: boolean;

  /** Throws ElfError, or a SystemError where the file cannot be read. */
  constructor(fd: number) {
    this.#fd = fd;
    this.#length = fstatSync(fd).size;
    const ident = this.read({ offset: 0, size: 16 });
    if (ident.readUInt32BE(0) !== 0x7f454c46) throw new ElfError("not an ELF file");
    const [kind, order] = [ident.readUInt8(4), ident.readUInt8(5)];
    if ((kind !== 1 && kind !== 2) || order !== 1) throw new ElfError(`ELF class ${kind}, byte order ${order}`);
    this.#wide = kind === 2;
    this.#layout = LAYOUTS[this.#wide ? 64 : 32];
    const header = this.read({ offset: 0, size: this.#layout.ehdr });
    this.#sections = this.#readSections(header);
    const { needsLibraries, names } = this.#readDynamic(header);
    this.needsLibraries = needsLibraries;
    this.#dynamicNames = names;
  }

  /** Linked dynamically, or a library: its imports are known. */
  get isDynamic(): boolean {
    return this.#dynamicNames !== undefined;
  }

  /** The first section whose name ends so. */
  section(ending: string): Extent | undefined {
    return this.#sections.find(({ name, type }) => name.endsWith(ending) && type !== SHT_NOBITS);
  }

  /** Without its symbol table (stripped), true where the name is there at all. */
  imports(symbol: string): boolean {
    const names = this.#dynamicNames;
    const places = names && placesOf(names, symbol);
    if (!places || places.size === 0) return false;
    const table = this.#sections.find(({ type }) => type === SHT_DYNSYM);
    return !table || this.#symbols(table, places).some((section) => section === SHN_UNDEF);
  }

  /** Whether a symbol of this name is in the file; undefined where its symbols have been stripped. */
  defines(symbol: string): boolean | undefined {
    const table = this.#sections.find(({ type }) => type === SHT_SYMTAB);
    const names = table && this.#sections[table.link];
    if (!names) return undefined;
    const places = placesOf(this.read(names), symbol);
    return places.size > 0 && this.#symbols(table, places).some((section) => section !== SHN_UNDEF);
  }

  read({ offset, size }: Extent): Buffer {
    if (offset < 0 || size < 0 || size > LARGEST_TABLE || offset + size > this.#length)
      throw new ElfError(`${size} bytes at ${offset} of a file of ${this.#length}`);
    const data = Buffer.allocUnsafe(size);
    let done = 0;
    while (done < size) {
      const count = readSync(this.#fd, data, done, size - done, offset + done);
      if (count === 0) throw new ElfError("the file has shrunk");
      done += count;
    }
    return data;
  }

  /** Section numbers of the symbols whose names are at these places of the string table. */
  #symbols(table: Extent, places: ReadonlySet<number>): number[] {
    const { sym, shndx } = this.#layout;
    const data = this.read(table);
    const found: number[] = [];
    for (let at = 0; at + sym <= data.length; at += sym)
      if (places.has(data.readUInt32LE(at))) found.push(data.readUInt16LE(at + shndx));
    return found;
  }

  #readSections(header: Buffer): Section[] {
    const { shoff, counts, shdr } = this.#layout;
    const offset = this.#word(header, shoff);
    const [size, count, namesIndex] = [4, 6, 8].map((place) => header.readUInt16LE(counts + place));
    if (offset === 0 || !count || namesIndex === undefined) return [];
    if (size !== shdr || count > MOST_HEADERS) throw new ElfError(`${count} section headers of ${size} bytes`);
    const data = this.read({ offset, size: shdr * count });
    const raw = Array.from({ length: count }, (_, i) => {
      const at = i * shdr;
      const [offsetAt, sizeAt, linkAt] = this.#wide ? [24, 32, 40] : [16, 20, 24];
      return {
        nameAt: data.readUInt32LE(at),
        type: data.readUInt32LE(at + 4),
        offset: this.#word(data, at + offsetAt),
        size: this.#word(data, at + sizeAt),
        link: data.readUInt32LE(at + linkAt),
      };
    });
    const named = raw[namesIndex];
    const names = named ? this.read(named) : Buffer.alloc(0);
    return raw.map(({ nameAt, ...section }) => ({ ...section, name: textAt(names, nameAt) }));
  }

  #readDynamic(header: Buffer): { readonly needsLibraries: boolean; readonly names?: Buffer } {
    const { phoff, counts, phdr, dyn } = this.#layout;
    const [size, count] = [0, 2].map((place) => header.readUInt16LE(counts + place));
    if (!count) return { needsLibraries: false };
    if (size !== phdr || count > MOST_HEADERS) throw new ElfError(`${count} program headers of ${size} bytes`);
    const data = this.read({ offset: this.#word(header, phoff), size: phdr * count });
    const [offsetAt, addressAt, sizeAt] = this.#wide ? [8, 16, 32] : [4, 8, 16];
    const segments = Array.from({ length: count }, (_, i) => ({
      type: data.readUInt32LE(i * phdr),
      offset: this.#word(data, i * phdr + offsetAt),
      address: this.#word(data, i * phdr + addressAt),
      size: this.#word(data, i * phdr + sizeAt),
    }));
    const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
    if (!dynamic) return { needsLibraries: false };
    const table = this.read(dynamic);
    const entries: [tag: number, value: number][] = [];
    for (let at = 0; at + dyn <= table.length; at += dyn)
      entries.push([this.#word(table, at), this.#word(table, at + dyn / 2)]);
    const value = (wanted: number): number => entries.find(([tag]) => tag === wanted)?.[1] ?? 0;
    const address = value(DT_STRTAB);
    const home = segments.find((s) => s.type === PT_LOAD && address >= s.address && address < s.address + s.size);
    if (!home) throw new ElfError("its dynamic names are in no segment");
    const names = this.read({ offset: home.offset + address - home.address, size: value(DT_STRSZ) });
    return { needsLibraries: entries.some(([tag]) => tag === DT_NEEDED), names };
  }

  /** A number of the file's word size; beyond 2⁵³ it is no offset of any file, and `read` refuses it. */
  #word(data: Buffer, at: number): number {
    return this.#wide ? Number(data.readBigUInt64LE(at)) : data.readUInt32LE(at);
  }
}

/** Where in a string table the name stands: on its own, or as the end of another one that a linker has shared. */
function placesOf(names: Buffer, name: string): Set<number> {
  const wanted = Buffer.from(`${name}\0`);
  const places = new Set<number>();
  for (let at = names.indexOf(wanted); at >= 0; at = names.indexOf(wanted, at + 1)) places.add(at);
  return places;
}

function textAt(names: Buffer, at: number): string {
  const end = names.indexOf(0, at);
  return at >= names.length ? "" : names.toString("latin1", at, end < 0 ? names.length : end);
}
