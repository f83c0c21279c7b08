// SPDX-License-Identifier: Apache-2.0
/** What the kernel unpacks into its memory and starts: guest/init.sh, busybox, and modules or all of the guest's files. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type Member, packCpio, S_IFCHR, S_IFDIR, S_IFREG } from "./cpio.ts";
import { packRoot } from "./packed-root.ts";
import type { Emulator, Kernel } from "./parts.ts";
import { VmUnavailable } from "./unavailable.ts";

/** What mounting the host's files needs; a kernel may have any of them built in. */
const wanted = ["virtio_pci", "virtiofs", "9p", "9pnet_virtio", "overlay"];

/** Files of the wanted modules and of what they depend on, dependencies first (modules.dep of depmod(8)). */
export function loadOrder(modulesDep: string, names: readonly string[]): string[] {
  const needs = new Map(
    modulesDep.split("\n").map((line) => {
      const [file = "", needed = ""] = line.split(":");
      return [file, needed.split(" ").filter((path) => path !== "")] as const;
    }),
  );
  const order = new Set<string>();
  const visit = (file: string): void => {
    if (order.has(file)) return;
    for (const needed of needs.get(file) ?? []) visit(needed);
    order.add(file);
  };
  for (const name of names) {
    const file = [...needs.keys()].find((path) => [`${name}.ko`, `${name}.ko.xz`].includes(basename(path)));
    if (file !== undefined) visit(file);
  }
  return [...order];
}

/** Plain bytes of a module; newer Debian kernels have them compressed. */
function readModule(file: string, busybox: string): Uint8Array {
  const stored = readFileSync(file);
  if (!file.endsWith(".xz")) return stored;
  const { status, stdout, stderr } = spawnSync(busybox, ["unxz", "-c"], { input: stored, maxBuffer: 64 << 20 });
  if (status !== 0) throw new VmUnavailable(`cannot unpack ${basename(file)}: ${stderr.toString().trim()}`);
  return stdout;
}

function bootModules({ modules }: Kernel): string[] {
  if (modules === undefined) return [];
  return loadOrder(readFileSync(join(modules, "modules.dep"), "utf8"), wanted).map((file) => join(modules, file));
}

/** What devtmpfs would make; init needs the first two before it can mount anything. */
const devices = { console: [5, 1], null: [1, 3] } as const;

/**
 * @param settings NAME=VALUE lines that guest/init.sh reads; with FILES=packed the guest's files are in it
 */
export function buildInitramfs(kernel: Kernel, emulator: Emulator, settings: Readonly<Record<string, string>>): Buffer {
  const folders = [
    "bin",
    "sbin",
    "dev",
    "proc",
    "sys",
    "lib",
    "lib/modules",
    "modules",
    "lower",
    "upper",
    "root",
    "directory",
  ];
  const members: Member[] = folders.map((name) => ({ name, mode: S_IFDIR | 0o755, content: new Uint8Array() }));
  const add = (name: string, content: Uint8Array): number => members.push({ name, mode: S_IFREG | 0o755, content });
  const quoted = Object.entries(settings).map(([name, value]) => `${name}='${value.replaceAll("'", `'\\''`)}'`);
  for (const [name, device] of Object.entries(devices))
    members.push({ name: `dev/${name}`, mode: S_IFCHR | 0o600, content: new Uint8Array(), device });
  add("bin/busybox", readFileSync(emulator.busybox));
  // By "rdinit=/bin/sh -- /init": a kernel may not know scripts.
  add("bin/sh", readFileSync(emulator.busybox));
  add("init", readFileSync(join(import.meta.dirname, "guest/init.sh")));
  add("settings", Buffer.from(`${quoted.join("\n")}\n`));
  // The kernel loads what nftables, veth and the like ask for through this path, in the initramfs.
  add("sbin/modprobe", Buffer.from('#!/bin/busybox sh\nexec /bin/busybox modprobe "$@"\n'));
  for (const [index, file] of bootModules(kernel).entries()) {
    const name = basename(file).replace(/\.xz$/, "");
    add(`modules/${String(index).padStart(2, "0")}-${name}`, readModule(file, emulator.busybox));
  }
  return packCpio(settings["FILES"] === "packed" ? [...members, ...packRoot(settings["HOST_PATH"] ?? "")] : members);
}
