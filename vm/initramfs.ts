// SPDX-License-Identifier: Apache-2.0
/** An initramfs in the "newc" form of cpio (kernel: Documentation/driver-api/early-userspace/buffer-format.rst). */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Emulator, Kernel } from "./parts.ts";
import { VmUnavailable } from "./unavailable.ts";

interface Member {
  readonly name: string;
  readonly mode: number;
  readonly content: Uint8Array;
}

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;

const padded = (length: number): number => (length + 3) & ~3;

function encodeMember({ name, mode, content }: Member, inode: number): Buffer {
  const size = name.length + 1;
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, size, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
  const bytes = Buffer.alloc(padded(110 + size) + padded(content.length));
  bytes.write(header, "latin1");
  bytes.set(content, padded(110 + size));
  return bytes;
}

/** Packs members into one archive; folders first, as the kernel makes none by itself. */
export function packCpio(members: readonly Member[]): Buffer {
  const trailer: Member = { name: "TRAILER!!!", mode: 0, content: new Uint8Array() };
  return Buffer.concat([...members, trailer].map((member, index) => encodeMember(member, index + 1)));
}

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

/**
 * @param settings NAME=VALUE lines that guest/init.sh reads
 */
export function buildInitramfs(kernel: Kernel, emulator: Emulator, settings: Readonly<Record<string, string>>): Buffer {
  const folders = ["bin", "sbin", "dev", "proc", "sys", "lib", "lib/modules", "modules", "lower", "upper", "root"];
  const members: Member[] = folders.map((name) => ({ name, mode: S_IFDIR | 0o755, content: new Uint8Array() }));
  const add = (name: string, content: Uint8Array): number => members.push({ name, mode: S_IFREG | 0o755, content });
  const quoted = Object.entries(settings).map(([name, value]) => `${name}='${value.replaceAll("'", `'\\''`)}'`);
  add("bin/busybox", readFileSync(emulator.busybox));
  add("init", readFileSync(join(import.meta.dirname, "guest/init.sh")));
  add("settings", Buffer.from(`${quoted.join("\n")}\n`));
  // The kernel loads what nftables, veth and the like ask for through this path, in the initramfs.
  add("sbin/modprobe", Buffer.from('#!/bin/busybox sh\nexec /bin/busybox modprobe "$@"\n'));
  for (const [index, file] of bootModules(kernel).entries()) {
    const name = basename(file).replace(/\.xz$/, "");
    add(`modules/${String(index).padStart(2, "0")}-${name}`, readModule(file, emulator.busybox));
  }
  return packCpio(members);
}
