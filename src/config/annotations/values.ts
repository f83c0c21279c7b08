// SPDX-License-Identifier: Apache-2.0
/** Values of annotations. Each reader answers undefined for a text that is none; empty elements of lists are dropped. */
import { isIP } from "node:net";
import { parseCidr } from "../../util/ip.ts";

const MAX_PORT = 65_535;

export const PORTS = "a list of ports such as 80,443";
export const PORT_RANGES = "a list of ports and ranges such as 80,8000-8010";
export const PORTS_OR_ALL = '"*" or a list of ports such as 80,443';
export const CIDRS = "a list of address ranges such as 10.0.0.0/8,fd00::/8";
export const CIDRS_OR_ALL = `"*" or ${CIDRS}`;
export const ADDRESSES = "a list of addresses and ranges such as 10.0.0.1,fd00::/8";
export const SWITCH = "true or false";
export const INTERFACES = "a list of interface names such as eth1,net1";
/** IFNAMSIZ without the final zero (include/uapi/linux/if.h). */
const MAX_INTERFACE_NAME = 15;

export function listOf<Item>(read: (text: string) => Item | undefined): (value: string) => Item[] | undefined {
  return (value) => {
    const items: Item[] = [];
    for (const part of value.split(",").map((text) => text.trim())) {
      if (part === "") continue;
      const item = read(part);
      if (item === undefined) return undefined;
      items.push(item);
    }
    return items;
  };
}

export function orAll<Item>(read: (value: string) => Item[] | undefined): (value: string) => "*" | Item[] | undefined {
  return (value) => (value === "*" ? "*" : read(value));
}

export function port(text: string): number | undefined {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  return value <= MAX_PORT ? value : undefined;
}

/** A bare address is none, as in istio-iptables. */
export function cidr(text: string): string | undefined {
  if (!text.includes("/")) return undefined;
  try {
    parseCidr(text);
    return text;
  } catch {
    return undefined;
  }
}

/** A bare address stands for itself alone. */
export function addressOrCidr(text: string): string | undefined {
  const family = isIP(text);
  return family === 0 ? cidr(text) : cidr(`${text}/${family === 4 ? 32 : 128}`);
}

export function toggle(text: string): boolean | undefined {
  return text === "true" ? true : text === "false" ? false : undefined;
}

export function interfaceName(text: string): string | undefined {
  return text.length <= MAX_INTERFACE_NAME && /^[^\s/:]+$/.test(text) ? text : undefined;
}

/** A destination; 0 is none. */
const destinationPort = (text: string): number | undefined => port(text) || undefined;

export const ports = listOf(destinationPort);
export const cidrs = listOf(cidr);
export const interfaces = listOf(interfaceName);

/** Single ports and ranges "8000-8010", every port of them. */
export function portRanges(value: string): number[] | undefined {
  return listOf(portRange)(value)?.flat();
}

function portRange(text: string): number[] | undefined {
  const [from, to, ...more] = text.split("-").map(destinationPort);
  if (more.length > 0 || from === undefined) return undefined;
  if (!text.includes("-")) return [from];
  if (to === undefined || to < from) return undefined;
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** `make(read(value))`, or undefined when the value is not allowed. */
export function reading<Value, Result>(
  read: (text: string) => Value | undefined,
  make: (value: Value) => Result,
): (text: string) => Result | undefined {
  return (text) => {
    const value = read(text);
    return value === undefined ? undefined : make(value);
  };
}
