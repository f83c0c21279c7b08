// SPDX-License-Identifier: Apache-2.0
/** The resolvers a workload uses, from its resolv.conf (resolv.conf(5), glibc resolv/res_init.c). */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";

export interface Nameserver {
  /** Without the scope. */
  readonly address: string;
  /** Interface name or index of a link-local address: "eth0" of fe80::1%eth0. */
  readonly scope?: string;
}

/** glibc asks the first three (MAXNS); so does a forwarder that stands in for it. */
const MAX_NAMESERVERS = 3;

/** Lines that are no nameserver, or name no address, are passed over as glibc does. */
export function parseResolvConf(text: string): Nameserver[] {
  const found: Nameserver[] = [];
  for (const line of text.split("\n")) {
    const word = /^nameserver[ \t]+([^ \t\r#;]+)/.exec(line)?.[1];
    if (word === undefined || found.length === MAX_NAMESERVERS) continue;
    const percent = word.indexOf("%");
    const address = percent < 0 ? word : word.slice(0, percent);
    const scope = percent < 0 ? "" : word.slice(percent + 1);
    if (isIP(address) === 0 || (scope !== "" && isIP(address) === 4)) continue;
    found.push(scope === "" ? { address } : { address, scope });
  }
  return found;
}

/** Whose resolv.conf: a process sees its own mount namespace, `ip netns` has one file a name. */
export interface ResolvConfOwner {
  readonly pid?: number;
  readonly netnsName?: string;
}

/** Where to look, the nearest to the workload first. */
export function resolvConfPaths(owner: ResolvConfOwner): string[] {
  return [
    ...(owner.pid === undefined ? [] : [`/proc/${owner.pid}/root/etc/resolv.conf`]),
    ...(owner.netnsName === undefined ? [] : [`/etc/netns/${owner.netnsName}/resolv.conf`]),
    "/etc/resolv.conf",
  ];
}

/** Resolvers from the first of the files that exists; without any, 127.0.0.1 as glibc assumes. */
export function readNameservers(
  owner: ResolvConfOwner,
  read: (path: string) => string = (path) => readFileSync(path, "utf8"),
): Nameserver[] {
  for (const path of resolvConfPaths(owner)) {
    let text: string;
    try {
      text = read(path);
    } catch {
      // Not there, or its process has ended: the next one decides.
      continue;
    }
    const found = parseResolvConf(text);
    return found.length > 0 ? found : [{ address: "127.0.0.1" }];
  }
  return [{ address: "127.0.0.1" }];
}
