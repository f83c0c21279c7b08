// SPDX-License-Identifier: Apache-2.0
import { closeSync, fstatSync, openSync, statSync } from "node:fs";
import { constants } from "node:os";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { canonicalIp } from "../util/ip.ts";
import { ShuntError } from "../util/shunt-error.ts";
import { learnNetnsCookie } from "./learn-netns-cookie.ts";

/** The calling process' own network namespace. */
export const OWN_NETNS = "/proc/self/ns/net";

/** An open network namespace: the fd keeps it alive and opens sockets in it; the cookie names it in the kernel. */
export class NetworkNamespace implements Disposable {
  readonly path: string;
  readonly fd: number;
  /** Inode of the nsfs file: what `lsns` and `ip netns` show. */
  readonly inode: bigint;
  #cookie: bigint | undefined;

  /** Throws ERR_NETNS_OPEN, naming the path, when it is no network namespace. */
  constructor(path: string) {
    this.path = path;
    try {
      this.fd = openSync(path, "r");
    } catch (cause) {
      throw new ShuntError("ERR_NETNS_OPEN", `network namespace ${path}: ${(cause as Error).message}`, { cause });
    }
    const stat = fstatSync(this.fd, { bigint: true });
    if (stat.dev !== statSync(OWN_NETNS, { bigint: true }).dev) {
      closeSync(this.fd);
      throw new ShuntError("ERR_NETNS_OPEN", `network namespace ${path}: not a namespace file`);
    }
    this.inode = stat.ino;
  }

  /**
   * A path that leads to this namespace now: the one it was opened by, unless that is gone or leads to another one; the
   * open descriptor keeps the namespace alive and reachable.
   */
  get currentPath(): string {
    const named = statSync(this.path, { bigint: true, throwIfNoEntry: false });
    return named?.ino === this.inode ? this.path : `/proc/${process.pid}/fd/${this.fd}`;
  }

  /** SO_NETNS_COOKIE (≥ 5.14), or what a connect hook tells (≥ 5.7). */
  cookie(): bigint {
    this.#cookie ??= this.#findCookie();
    return this.#cookie;
  }

  /** Every address that is assigned in the namespace, loopback included. */
  addresses(): string[] {
    const list = check(loadAddon().interfaceAddresses(this.fd), "getifaddrs", this.path);
    return [...new Set(list.map((entry) => canonicalIp(entry.address)))];
  }

  /** Addresses by which the namespace's own programs can be reached, loopback aside. */
  localAddresses(): string[] {
    return this.addresses().filter((address) => !address.startsWith("127.") && address !== "::1");
  }

  /** IPv6 is there and not switched off on lo, so ::1 can be listened on. */
  hasIpv6(): boolean {
    return this.addresses().includes("::1");
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }

  #findCookie(): bigint {
    const cookie = loadAddon().netnsCookie(this.fd);
    if (cookie === -constants.errno.ENOPROTOOPT) return learnNetnsCookie(this.fd);
    return check(cookie, "getsockopt(SO_NETNS_COOKIE)", this.path);
  }
}
