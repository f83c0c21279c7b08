// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { loadAddon } from "../native/load-addon.ts";
import { errnoName } from "../native/status.ts";
import { socketFd } from "./socket-fd.ts";

/** asm-generic/socket.h. */
const SOL_SOCKET = 1;
const SO_ERROR = 4;

/**
 * The error that the kernel holds for a socket, and forgets by this call. To be asked at the end of input: a RST
 * that arrives together with the last data looks like FIN to libuv (1.46 uv__stream_io takes POLLHUP after a short
 * read for end of file), and Node reports no error.
 */
export function takeSocketError(socket: Socket): string | undefined {
  const fd = socketFd(socket);
  if (fd < 0) return undefined;
  const errno = loadAddon().getSocketOption(fd, SOL_SOCKET, SO_ERROR);
  return errno > 0 ? errnoName(errno) : undefined;
}
