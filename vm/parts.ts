// SPDX-License-Identifier: Apache-2.0
/** Everything a VM is made of, unpacked in the cache: nothing is installed. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { runQuietly } from "../scripts/setup/progress.mjs";
import { libraryPath, unpackPackage } from "../test/support/deb-cache.ts";
import { VmUnavailable } from "./unavailable.ts";

export interface Kernel {
  readonly release: string;
  readonly image: string;
  /** Folder of its modules with modules.dep, or undefined: everything needed is built in. */
  readonly modules: string | undefined;
}

export interface Emulator {
  readonly qemu: string;
  /** Arguments that let an unpacked qemu find its firmware. */
  readonly firmware: readonly string[];
  readonly virtiofsd: string;
  /** Arguments that this version of virtiofsd needs besides those that all take. */
  readonly virtiofsdOptions: readonly string[];
  readonly busybox: string;
  readonly env: Readonly<Record<string, string>>;
}

async function unpacked(name: string, alone = false): Promise<string> {
  const result = await unpackPackage(name, { alone });
  if (!result.ok) throw new VmUnavailable(result.reason);
  return result.root;
}

export async function fetchEmulator(): Promise<Emulator> {
  if (process.arch !== "x64") throw new VmUnavailable(`VMs run x86_64 kernels and this is ${process.arch}`);
  const root = await unpacked("qemu-system-x86");
  const busybox = join(await unpacked("busybox-static"), "bin/busybox");
  const bundled = join(root, "usr/lib/qemu/virtiofsd");
  // Its own package since Debian 13 and Ubuntu 24.04.
  const daemonRoot = existsSync(bundled) ? root : await unpacked("virtiofsd");
  const virtiofsd = existsSync(bundled)
    ? bundled
    : ["usr/libexec/virtiofsd", "usr/lib/qemu/virtiofsd"]
        .map((path) => join(daemonRoot, path))
        .find((path) => existsSync(path));
  if (virtiofsd === undefined) throw new VmUnavailable("virtiofsd is in none of the packages that should have it");
  const folders = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"].map((path) => join(root, path));
  const env = {
    LD_LIBRARY_PATH: [libraryPath(root), libraryPath(daemonRoot)].join(":"),
    QEMU_MODULE_DIR: join(root, "usr/lib/x86_64-linux-gnu/qemu"),
  };
  return {
    qemu: join(root, "usr/bin/qemu-system-x86_64"),
    firmware: folders.filter((path) => existsSync(path)).flatMap((path) => ["-L", path]),
    virtiofsd,
    virtiofsdOptions: await hidingMountPoints(virtiofsd, env),
    busybox: existsSync(busybox) ? busybox : join(busybox, "../../usr/bin/busybox"),
    env,
  };
}

/**
 * The one written in Rust makes the host's mount points automounts of the guest, and overlayfs answers EREMOTE below one
 * (ovl_dentry_weird in fs/overlayfs/util.c). The older ones do so only when asked.
 */
async function hidingMountPoints(virtiofsd: string, env: Emulator["env"]): Promise<string[]> {
  const option = "--no-announce-submounts";
  const { output } = await runQuietly([virtiofsd, "--help"], { env: { ...process.env, ...env } });
  return output.includes(option) ? [option] : [];
}
