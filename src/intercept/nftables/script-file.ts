// SPDX-License-Identifier: Apache-2.0
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Where a container whose file system can't be written to still has one. */
const SHARED_MEMORY = "/dev/shm";

/**
 * A text as a file that has no name any more. nft takes what it has read when its input ends for the whole, and half of
 * a script can be a valid one: written into a pipe it could be that, if this process were killed meanwhile.
 */
export class ScriptFile implements Disposable {
  readonly fd: number;

  constructor(text: string) {
    const folder = makeFolder();
    try {
      this.fd = openSync(join(folder, "script"), "wx+", 0o600);
    } finally {
      rmSync(folder, { recursive: true });
    }
    const bytes = Buffer.from(text);
    // By position: whoever inherits the descriptor reads from the beginning.
    for (let at = 0; at < bytes.length; ) at += writeSync(this.fd, bytes, at, bytes.length - at, at);
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

function makeFolder(): string {
  try {
    return mkdtempSync(join(tmpdir(), "shunt-nft-"));
  } catch (error) {
    if (!existsSync(SHARED_MEMORY)) throw error;
    return mkdtempSync(join(SHARED_MEMORY, "shunt-nft-"));
  }
}
