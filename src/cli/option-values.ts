// SPDX-License-Identifier: Apache-2.0
/** Values of options: from text to what commands work with. */
import { isInterfaceName } from "../config/interface-name.ts";
import { parseListenAddress } from "../config/listen-address.ts";
import { canonicalIp } from "../util/ip.ts";
import { InvalidValue } from "./command-spec.ts";

function wholeNumber(allowed: string, minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= minimum && value <= maximum) return value;
    throw new InvalidValue(allowed);
  };
}

export const portNumber = wholeNumber("a port (0 … 65535)", 0, 65_535);
/** A destination; 0 is none. */
const destinationPort = wholeNumber("a port (1 … 65535)", 1, 65_535);
export const workerCount = wholeNumber("a number of worker threads (1 … 256)", 1, 256);
export const processId = wholeNumber("a process id (1 … 4194304)", 1, 4_194_304);
export const userId = wholeNumber("a user or group id (0 … 4294967294)", 0, 4_294_967_294);

/** "1337" or "0x539". */
export function socketMark(text: string): number {
  const value = /^(\d{1,10}|0x[0-9a-f]{1,8})$/i.test(text) ? Number(text) : Number.NaN;
  if (value <= 0xffff_ffff) return value;
  throw new InvalidValue("a mark, such as 1337 or 0x539");
}

export function interfaceName(text: string): string {
  if (isInterfaceName(text)) return text;
  throw new InvalidValue("a name of an interface");
}

/** "1337", or "3,4". */
export function userIds(text: string): number[] {
  return text.split(",").map((part) => userId(part.trim()));
}

/** Ids become numbers, names stay: what they mean is the configuration's to say. */
export function groupList(text: string): (number | string)[] {
  return commaList(text).map((part) => (/^\d{1,10}$/.test(part) ? Number(part) : part));
}

export function groupSet(text: string): "*" | (number | string)[] {
  return text === "*" ? text : groupList(text);
}

/** "traffic.sidecar.istio.io/excludeOutboundPorts=22,80". */
export function annotation(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new InvalidValue("KEY=VALUE");
}

/** "80,443". */
export function portList(text: string): number[] {
  return text.split(",").map((part) => {
    try {
      return destinationPort(part.trim());
    } catch {
      throw new InvalidValue("a list of ports such as 80,443");
    }
  });
}

/** "80,443", or "*" for all. */
export function portSet(text: string): "*" | number[] {
  if (text === "*") return text;
  try {
    return portList(text);
  } catch {
    throw new InvalidValue('"*" or a list of ports such as 80,443');
  }
}

/** Only split; what each range may be is the configuration's to say. */
export function commaList(text: string): string[] {
  return text.split(",").map((part) => part.trim());
}

export function ipAddress(text: string): string {
  try {
    return canonicalIp(text);
  } catch {
    throw new InvalidValue("an IP address");
  }
}

export function adminAddress(text: string): string {
  if (parseListenAddress(text) !== undefined) return text;
  throw new InvalidValue("ADDRESS:PORT, such as 127.0.0.1:15000 or [::1]:15000");
}

export function scopeName(text: string): string {
  if (/^[A-Za-z0-9][\w-]{0,62}$/.test(text)) return text;
  throw new InvalidValue("a name (letters, digits, - and _, at most 63)");
}

/** Names and paths: anything but nothing. */
export function nonEmpty(text: string): string {
  if (text !== "" && !text.includes("\0")) return text;
  throw new InvalidValue("a name or a path");
}
