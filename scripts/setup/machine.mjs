// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { isAtLeast } from "./node-version.mjs";

// A login as root by `su` leaves these out, and the tools of the network live there.
for (const folder of ["/usr/local/sbin", "/usr/sbin", "/sbin"]) {
  if (!(process.env["PATH"] ?? "").split(delimiter).includes(folder)) process.env["PATH"] += delimiter + folder;
}

export const isRoot = process.geteuid?.() === 0;

/** @param {string} name */
export function findCommand(name) {
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}

/** @param {string} text content of os-release(5) */
export function parseOsRelease(text) {
  /** @type {Record<string, string>} */
  const fields = {};
  for (const line of text.split("\n")) {
    const match = /^([A-Z_]+)=(.*)$/.exec(line);
    if (match) fields[match[1] ?? ""] = (match[2] ?? "").replace(/^(["'])(.*)\1$/, "$2");
  }
  return {
    id: fields["ID"] ?? "unknown",
    version: fields["VERSION_ID"] ?? "",
    name: fields["PRETTY_NAME"] ?? "an unknown system",
  };
}

export function readDistribution() {
  const path = ["/etc/os-release", "/usr/lib/os-release"].find((file) => existsSync(file));
  return parseOsRelease(path === undefined ? "" : readFileSync(path, "utf8"));
}

/**
 * Whether packages are installed here, and if not, why: a sentence for people.
 * @param {{id: string, version: string, name: string}} distribution
 * @returns {string | undefined}
 */
export function whyUnsupported({ id, version, name }) {
  // Debian's testing and unstable have no VERSION_ID.
  if (id === "debian" && (version === "" || isAtLeast(version, "12"))) return undefined;
  if (id === "ubuntu" && isAtLeast(version, "24.04")) return undefined;
  return `this set-up installs packages on Debian 12, 13 and Ubuntu 24.04 or newer and this is ${name}`;
}

/** Capability bits of linux/capability.h. */
const capabilities = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_SYS_ADMIN: 21 };

/**
 * Names of the capabilities that root lacks here: an unprivileged container.
 * @param {string} status content of /proc/self/status
 */
export function missingCapabilities(status) {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  return Object.entries(capabilities)
    .filter(([, bit]) => ((effective >> BigInt(bit)) & 1n) === 0n)
    .map(([name]) => name);
}

/** Why this process may not make namespaces and rules: one sentence, or undefined if it may. */
export function whyUnprivileged() {
  if (!isRoot) {
    return "not root: interception, namespaces and rules need it; building, `npm run check`, the unit tests and `shunt --help` still work";
  }
  const missing = missingCapabilities(readFileSync("/proc/self/status", "utf8"));
  if (missing.length === 0) return undefined;
  return `root without ${missing.join(", ")}, as in an unprivileged container: interception, namespaces and rules need them; building, \`npm run check\` and the unit tests still work`;
}
