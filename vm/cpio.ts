// SPDX-License-Identifier: Apache-2.0
/** Archives in the "newc" form of cpio (kernel: Documentation/driver-api/early-userspace/buffer-format.rst). */

export interface Member {
  readonly name: string;
  readonly mode: number;
  /** Of a symbolic link its target. */
  readonly content: Uint8Array;
  /** Major and minor number of a device. */
  readonly device?: readonly [number, number];
}

export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFCHR = 0o020000;

const padded = (length: number): number => (length + 3) & ~3;

function encodeMember({ name, mode, content, device = [0, 0] }: Member, inode: number): Buffer {
  const path = Buffer.from(`${name}\0`);
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, ...device, path.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`, "latin1");
  const bytes = Buffer.alloc(padded(header.length + path.length) + padded(content.length));
  header.copy(bytes);
  path.copy(bytes, header.length);
  bytes.set(content, padded(header.length + path.length));
  return bytes;
}

/** Packs members into one archive; folders first, as the kernel makes none by itself. */
export function packCpio(members: readonly Member[]): Buffer {
  const trailer: Member = { name: "TRAILER!!!", mode: 0, content: new Uint8Array() };
  return Buffer.concat([...members, trailer].map((member, index) => encodeMember(member, index + 1)));
}
