// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";

/**
 * The descriptor behind a socket, −1 once it is closed. Node has no public way to it, and SO_ORIGINAL_DST
 * needs one; `_handle.fd` is the same in Node 20 to 26. This is the only place that looks there.
 */
export function socketFd(socket: Socket): number {
  const handle = (socket as unknown as { readonly _handle: { readonly fd?: number } | null })._handle;
  return handle?.fd ?? -1;
}
