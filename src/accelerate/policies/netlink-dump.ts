// SPDX-License-Identifier: Apache-2.0
/** Dumps of rtnetlink(7) and nfnetlink as messages and their attributes; <linux/netlink.h>. */
import { endianness } from "node:os";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";

const HEADER = 16;
/** NLA_F_NESTED and NLA_F_NET_BYTEORDER are not part of the type. */
const TYPE_MASK = 0x3fff;
const aligned = (length: number): number => (length + 3) & ~3;

export interface NetlinkMessage {
  readonly type: number;
  /** What follows the header. */
  readonly body: Buffer;
}

if (endianness() !== "LE") throw new TypeError("Shunt is built for little-endian machines");

/** Throws SystemError; −EINTR where the answer goes on changing. */
export function dumpNetlink(netns: number | undefined, protocol: number, type: number, body: Uint8Array) {
  const answer = check(loadAddon().dumpNetlink(netns, protocol, type, body), "netlink", `dump of type ${type}`);
  const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + HEADER <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    messages.push({ type: bytes.readUInt16LE(at + 4), body: bytes.subarray(at + HEADER, at + length) });
    at += aligned(Math.max(length, HEADER));
  }
  return messages;
}

/** Attributes by type; of several of a type the last one. */
export function attributesOf(bytes: Buffer): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4) break;
    found.set(bytes.readUInt16LE(at + 2) & TYPE_MASK, bytes.subarray(at + 4, at + length));
    at += aligned(length);
  }
  return found;
}

/** A string attribute without its NUL; "" where there is none. */
export function textOf(attribute: Buffer | undefined): string {
  return attribute?.toString("latin1").replace(/\0.*$/s, "") ?? "";
}

/** A string attribute, to be sent. */
export function textAttribute(type: number, text: string): Buffer {
  const value = Buffer.from(`${text}\0`, "latin1");
  const bytes = Buffer.alloc(aligned(4 + value.length));
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  value.copy(bytes, 4);
  return bytes;
}
