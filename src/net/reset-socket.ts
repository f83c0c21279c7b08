// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { socketFd } from "./socket-fd.ts";

/**
 * From now on whatever closes the descriptor sends RST and discards what is queued: the end of this thread, of this
 * process, a forgotten socket. Sockets accepted from a listener are as the listener is. Throws SystemError.
 */
export function resetOnClose(fd: number): void {
  check(loadAddon().setLinger(fd, 0), "setsockopt(SO_LINGER)", `fd ${fd}`);
}

/** Takes `resetOnClose` off a connection: the kernel sends what is queued, and FIN. Does nothing for a closed socket. */
export function closeInOrder(socket: Socket): void {
  const fd = socketFd(socket);
  if (fd >= 0) loadAddon().setLinger(fd, -1);
}

/** Closes with RST and without waiting for queued data. A second call, or one on a closed socket, does nothing. */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  // Between shutdown() asked for and done, libuv refuses the reset with EINVAL and Node then loses the handle
  // (libuv 1.46 uv_tcp_close_reset, Node 20 lib/net.js). Nothing is queued behind it, so it is one turn of the loop.
  if (socket.writableEnded && !socket.writableFinished) {
    socket.once("finish", () => {
      if (!socket.destroyed) socket.resetAndDestroy();
    });
    return;
  }
  socket.resetAndDestroy();
}
