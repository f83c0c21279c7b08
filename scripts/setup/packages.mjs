// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { SetupFailure } from "./failure.mjs";
import { findCommand, isRoot, readDistribution, whyUnsupported } from "./machine.mjs";
import { runStep } from "./progress.mjs";

/**
 * @typedef {"build" | "demo" | "test"} Purpose
 * @typedef {{name: string, reason: string, for: readonly Purpose[], present: () => boolean}} SystemPackage
 */

/** @param {string[]} names */
const commands =
  (...names) =>
  () =>
    names.every((name) => findCommand(name) !== undefined);

/** @param {string} module */
const pkgConfig =
  (module, version = "0") =>
  () =>
    spawnSync("pkg-config", [`--atleast-version=${version}`, module]).status === 0;

const hasArchHeaders = () =>
  existsSync("/usr/include/asm/types.h") ||
  readdirSync("/usr/include").some((folder) => existsSync(`/usr/include/${folder}/asm/types.h`));

/** @type {readonly Purpose[]} */
const always = ["build", "demo", "test"];
/** @type {readonly Purpose[]} */
const atRunTime = ["demo", "test"];

/**
 * Everything the two commands need beyond Node, with the test whether it is there from any source.
 * @type {readonly SystemPackage[]}
 */
export const packages = [
  { name: "clang", reason: "compiles the BPF programs", for: always, present: commands("clang") },
  { name: "gcc", reason: "compiles the load generator", for: always, present: commands("gcc") },
  { name: "g++", reason: "compiles the addon", for: always, present: commands("g++") },
  {
    name: "libc6-dev",
    reason: "headers of the C library",
    for: always,
    present: () => existsSync("/usr/include/stdio.h"),
  },
  { name: "make", reason: "runs both builds", for: always, present: commands("make") },
  {
    name: "python3",
    reason: "node-gyp is written in it; a client of the demo",
    for: always,
    present: commands("python3"),
  },
  { name: "pkg-config", reason: "finds libbpf", for: always, present: commands("pkg-config") },
  { name: "libbpf-dev", reason: "loads BPF objects", for: always, present: pkgConfig("libbpf", "1.1") },
  { name: "libelf-dev", reason: "libbpf reads objects with it", for: always, present: pkgConfig("libelf") },
  { name: "zlib1g-dev", reason: "libelf needs it", for: always, present: pkgConfig("zlib") },
  {
    name: "linux-libc-dev",
    reason: "the kernel's structures",
    for: always,
    present: () => existsSync("/usr/include/linux/bpf.h") && hasArchHeaders(),
  },
  { name: "iproute2", reason: "makes namespaces and veth pairs", for: atRunTime, present: commands("ip") },
  {
    name: "iptables",
    reason: "the mode to compare with",
    for: atRunTime,
    present: commands("iptables-restore", "ip6tables-restore"),
  },
  { name: "nftables", reason: "shows that no rule is left", for: atRunTime, present: commands("nft") },
  { name: "curl", reason: "an unmodified client", for: atRunTime, present: commands("curl") },
  { name: "strace", reason: "kills an agent between two system calls", for: ["test"], present: commands("strace") },
  { name: "bind9-dnsutils", reason: "dig, a client of the DNS capture", for: ["test"], present: commands("dig") },
];

/** @param {Purpose} purpose */
export function missingPackages(purpose) {
  return packages.filter((entry) => entry.for.includes(purpose) && !entry.present());
}

/** @param {readonly SystemPackage[]} missing */
export function installLine(missing) {
  return `apt-get install --no-install-recommends -y ${missing.map((entry) => entry.name).join(" ")}`;
}

/**
 * Installs what is missing, or says in one sentence why it does not.
 * @param {{purpose: Purpose, install: boolean}} options
 */
export async function ensurePackages({ purpose, install }) {
  const missing = missingPackages(purpose);
  if (missing.length === 0) return;
  const names = missing.map((entry) => entry.name).join(", ");
  const unsupported = whyUnsupported(readDistribution());
  if (unsupported !== undefined || findCommand("apt-get") === undefined) {
    const why = unsupported ?? "apt-get is missing";
    throw new SetupFailure(`${why}; install what Debian calls ${names} by hand and the same command works on`, 69);
  }
  process.stdout.write("Missing system packages:\n");
  for (const entry of missing) process.stdout.write(`  ${entry.name.padEnd(16)} ${entry.reason}\n`);
  const line = installLine(missing);
  if (!install) throw new SetupFailure(`--no-install was given; run this first:\n  ${isRoot ? "" : "sudo "}${line}`);
  if (!isRoot) throw new SetupFailure(`installing needs root; run this first:\n  sudo apt-get update && sudo ${line}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  await runStep("apt-get update", ["apt-get", "update"], { env });
  await runStep(`apt-get install ${names}`, line.split(" "), { env });
  const still = missing.filter((entry) => !entry.present());
  if (still.length === 0) return;
  const rest = still.map((entry) => entry.name).join(", ");
  throw new SetupFailure(
    `apt-get installed ${rest}, but it does not provide what is needed (libbpf must be 1.1 or newer)`,
  );
}
