// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Kernel } from "./parts.ts";
import { VmUnavailable } from "./unavailable.ts";

/** Offsets of the boot header (kernel: Documentation/arch/x86/boot.rst). */
const MAGIC = 0x202;
const VERSION_POINTER = 0x20e;

/** What `uname -r` will say, from the header of a bzImage. */
export function releaseOf(image: Uint8Array): string | undefined {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.byteLength);
  if (bytes.length < VERSION_POINTER + 2 || bytes.toString("latin1", MAGIC, MAGIC + 4) !== "HdrS") return undefined;
  const from = bytes.readUInt16LE(VERSION_POINTER) + 0x200;
  const end = bytes.indexOf(0, from);
  return bytes.toString("latin1", from, end < 0 ? from : end).split(" ")[0] || undefined;
}

/**
 * Any kernel somebody has.
 * @param modules folder with modules.dep, or one that has lib/modules/RELEASE below it
 */
export function ownKernel(path: string, modules: string | undefined): Kernel {
  const image = resolve(path);
  if (!existsSync(image)) throw new VmUnavailable(`--kernel ${path}: neither a name of vm/kernels.json nor a file`);
  const release = releaseOf(readFileSync(image));
  if (release === undefined) throw new VmUnavailable(`--kernel ${path}: not a bzImage`);
  if (modules === undefined) return { release, image, modules: undefined };
  const folders = [resolve(modules), resolve(modules, release), join(resolve(modules), "lib/modules", release)];
  const found = folders.find((folder) => existsSync(join(folder, "modules.dep")));
  if (found === undefined) throw new VmUnavailable(`--modules ${modules}: no modules.dep there for ${release}`);
  return { release, image, modules: found };
}
