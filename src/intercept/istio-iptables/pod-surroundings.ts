// SPDX-License-Identifier: Apache-2.0
/** What istio-iptables reads from its surroundings instead of from flags. */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import { canonicalIp, isMapped, parseIp } from "../../util/ip.ts";
import { IstioIptablesError } from "./istio-iptables-error.ts";
import type { TargetNamespace } from "./target.ts";

/** Istio's own default for a pod whose image has no such user. */
const DEFAULT_PROXY_UID = "1337";
/** What a run with IPv6 adds to lo: says nothing about the pod. */
const PASSTHROUGH_V6 = "::6";

/** Addresses of the interfaces of a namespace as the kernel lists them: IPv4 first. */
export function interfaceAddresses({ fd, lockPath }: TargetNamespace): string[] {
  const list = check(loadAddon().interfaceAddresses(fd), "addresses", `network namespace ${lockPath}`);
  return list.map((entry) => canonicalIp(entry.address));
}

/**
 * Whether there are to be IPv6 rules: the first address that is neither loopback nor link-local says so, with
 * `dualStack` any of them. Throws when there is no such address, as Istio does.
 */
export function wantsIpv6(addresses: readonly string[], dualStack: boolean): boolean {
  const own = globalAddresses(addresses);
  const [first] = own;
  if (first === undefined) {
    throw new IstioIptablesError(
      "ERR_ISTIO_NO_ADDRESS",
      "no interface of the network namespace has an address beside loopback and link-local ones",
    );
  }
  return dualStack ? own.some(isIpv6) : isIpv6(first);
}

export function hasGlobalIpv6(addresses: readonly string[]): boolean {
  return globalAddresses(addresses).some(isIpv6);
}

function globalAddresses(addresses: readonly string[]): string[] {
  return addresses.filter((address) => address !== PASSTHROUGH_V6 && !isLoopbackOrLinkLocal(address));
}

function isIpv6(address: string): boolean {
  return isIP(address) === 6;
}

function isLoopbackOrLinkLocal(address: string): boolean {
  const bytes = parseIp(address);
  if (isMapped(bytes)) return bytes[12] === 127 || (bytes[12] === 169 && bytes[13] === 254);
  return address === "::1" || (bytes[0] === 0xfe && ((bytes[1] ?? 0) & 0xc0) === 0x80);
}

export interface Nameservers {
  readonly v4: readonly string[];
  readonly v6: readonly string[];
  /** Nameserver lines that name nothing a rule can name. */
  readonly passedOver: readonly string[];
}

/** Every nameserver of a resolv.conf, not only the first three that glibc asks (miekg/dns, ClientConfigFromReader). */
export function parseNameservers(text: string): Nameservers {
  const v4: string[] = [];
  const v6: string[] = [];
  const passedOver: string[] = [];
  for (const line of text.split("\n")) {
    const [keyword, address] = line.trim().split(/\s+/);
    if (keyword !== "nameserver" || address === undefined || /^[#;]/.test(line)) continue;
    // A scope ("fe80::1%eth0") is no part of a rule.
    if (isIP(address) === 0 || address.includes("%")) passedOver.push(address);
    else if (isMapped(parseIp(address))) v4.push(canonicalIp(address));
    else v6.push(address);
  }
  return { v4, v6, passedOver };
}

export function readNameservers(path = "/etc/resolv.conf"): Nameservers {
  try {
    return parseNameservers(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new IstioIptablesError("ERR_ISTIO_RESOLV_CONF", `${path}: ${(cause as Error).message}`, { cause });
  }
}

/** Id of a user or group by name in the text of /etc/passwd or /etc/group; undefined when it is not in there. */
export function idOf(name: string, database: string): string | undefined {
  const fields = database.split("\n").map((line) => line.split(":"));
  const id = fields.find((entry) => entry[0] === name)?.[2];
  return id !== undefined && /^\d+$/.test(id) ? id : undefined;
}

/** The proxy's user when no flag names one. */
export function defaultProxyUid(user: string): string {
  return idOf(user, readDatabase("/etc/passwd")) ?? DEFAULT_PROXY_UID;
}

/** A comma list of users or groups with known names replaced by their ids; all else is left as it is. */
export function withIds(list: string, file: "/etc/passwd" | "/etc/group"): string {
  if (/^[\d,]*$/.test(list)) return list;
  const database = readDatabase(file);
  return list
    .split(",")
    .map((name) => (/^\d*$/.test(name) ? name : (idOf(name, database) ?? name)))
    .join(",");
}

function readDatabase(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Images without users have no such file.
    return "";
  }
}
