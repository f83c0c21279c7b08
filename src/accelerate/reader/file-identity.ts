// SPDX-License-Identifier: Apache-2.0
import { type BigIntStats, closeSync, fstatSync, openSync } from "node:fs";

/** A file and its content, as far as nobody turns the clock back: device, inode, size and time of change. */
export type FileIdentity = string;

export function identityOf({ dev, ino, size, mtimeNs }: BigIntStats): FileIdentity {
  return `${dev}:${ino}:${size}:${mtimeNs}`;
}

/** Opens a file, also one that is there under no name any more (/proc/PID/exe), and says which it is. */
export function withFile<T>(path: string, use: (fd: number, identity: FileIdentity) => T): T {
  const fd = openSync(path, "r");
  try {
    return use(fd, identityOf(fstatSync(fd, { bigint: true })));
  } finally {
    closeSync(fd);
  }
}
