// SPDX-License-Identifier: Apache-2.0
import { closeSync, readSync } from "node:fs";
import { constants } from "node:os";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { formatIp } from "../util/ip.ts";
import type { NetworkNamespace } from "./network-namespace.ts";

/** A TCP socket that listens in a network namespace. */
export interface ListeningSocket {
  readonly family: 4 | 6;
  readonly address: string;
  readonly port: number;
  /** Inode of the socket on sockfs: what `/proc/PID/fd` calls `socket:[INODE]`. */
  readonly inode: number;
}

/** State column of /proc/net/tcp (include/net/tcp_states.h). */
const LISTEN = "0A";
const READ_BYTES = 65_536;

/** The listening TCP sockets of a namespace, as its /proc/net/tcp and tcp6 tell at the moment of asking. */
export class ListeningSockets implements Disposable {
  readonly #tables: readonly { readonly family: 4 | 6; readonly fd: number }[];
  readonly #buffer = Buffer.allocUnsafe(READ_BYTES);

  constructor(netns: NetworkNamespace) {
    this.#tables = ([4, 6] as const).flatMap((family) => {
      const path = `/proc/thread-self/net/tcp${family === 6 ? "6" : ""}`;
      const fd = loadAddon().openInNetns(netns.fd, path);
      // A kernel without IPv6 has no such table.
      if (family === 6 && fd === -constants.errno.ENOENT) return [];
      return [{ family, fd: check(fd, "open", `${path} in ${netns.path}`) }];
    });
  }

  onPort(port: number): ListeningSocket[] {
    return this.#tables.flatMap(({ family, fd }) =>
      parseListening(this.#readListening(fd), family).filter((socket) => socket.port === port),
    );
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#tables) closeSync(fd);
  }

  /** The kernel tells listeners first (net/ipv4/tcp_ipv4.c tcp_get_idx), so connections, however many, are not read. */
  #readListening(fd: number): string {
    let text = "";
    for (let position = 0; ; ) {
      const bytes = readSync(fd, this.#buffer, 0, READ_BYTES, position);
      position += bytes;
      text += this.#buffer.toString("latin1", 0, bytes);
      if (bytes === 0 || endsWithConnection(text)) return text;
    }
  }
}

function endsWithConnection(text: string): boolean {
  const lines = text.split("\n");
  const last = lines.at(-2)?.trim().split(/\s+/);
  return lines.length > 2 && last?.[3] !== undefined && last[3] !== LISTEN;
}

/** Lines of /proc/net/tcp or tcp6 whose socket listens. The first one names the columns. */
export function parseListening(text: string, family: 4 | 6): ListeningSocket[] {
  return text
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === LISTEN)
    .map((fields) => {
      const [address = "", port = ""] = (fields[1] ?? "").split(":");
      return {
        family,
        address: formatAddress(address),
        port: Number.parseInt(port, 16),
        inode: Number(fields[9]),
      };
    });
}

/** The kernel prints addresses as 32-bit words of the machine's own byte order. */
function formatAddress(hex: string): string {
  const words = Uint32Array.from(hex.match(/.{8}/g) ?? [], (word) => Number.parseInt(word, 16));
  const bytes = new Uint8Array(words.buffer);
  return bytes.length === 4 ? bytes.join(".") : formatIp(bytes);
}
