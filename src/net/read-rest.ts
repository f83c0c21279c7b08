// SPDX-License-Identifier: Apache-2.0
import { readSync } from "node:fs";
import type { Socket } from "node:net";
import { socketFd } from "./socket-fd.ts";

const CHUNK = Buffer.allocUnsafeSlow(65_536);

/**
 * What a socket still holds at its end. libuv takes a short read together with a hang-up for the end of input (libuv
 * 1.46, uv__stream_io), which TCP warrants: one read gives all there is. A socket in a map reads what was redirected to
 * it and what TCP brought by two reads. Undefined where nothing is left.
 */
export function readRest(socket: Socket): Buffer | undefined {
  const fd = socketFd(socket);
  if (fd < 0) return undefined;
  const chunks: Buffer[] = [];
  try {
    for (let length = readSync(fd, CHUNK); length > 0; length = readSync(fd, CHUNK)) {
      chunks.push(Buffer.from(CHUNK.subarray(0, length)));
    }
  } catch {
    // EAGAIN, or the reset that ends it.
  }
  return chunks.length === 0 ? undefined : Buffer.concat(chunks);
}
