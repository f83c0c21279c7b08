// SPDX-License-Identifier: Apache-2.0
/** Kernels of any Debian release. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runQuietly } from "../scripts/setup/progress.mjs";
import { cacheFolder, lastLine } from "../test/support/deb-cache.ts";
import { aptFor } from "./debian-apt.ts";
import type { KernelEntry } from "./kernel-list.ts";
import type { Kernel } from "./parts.ts";
import { VmUnavailable } from "./unavailable.ts";

/** What the meta package stands for; since 7.x image and modules are packages of their own. */
async function packagesOf(meta: string, apt: (command: readonly string[]) => Promise<string>): Promise<string[]> {
  const image = /Depends: (linux-image-\d\S+)/.exec(await apt(["apt-cache", "depends", meta]))?.[1];
  if (image === undefined) throw new VmUnavailable(`${meta}: it depends on no kernel`);
  const parts = await apt(["apt-cache", "depends", image]);
  return [image, ...[...parts.matchAll(/ Depends: (linux-(?:binary|modules)-\d\S+)/g)].map((match) => match[1] ?? "")];
}

/** The complete kernel of that release that came into the cache last. */
function cached({ suite }: KernelEntry): string | undefined {
  const folder = join(cacheFolder(), "kernels");
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith(`${suite}-`)) : [];
  const since = (path: string): number => statSync(join(path, ".complete")).mtimeMs;
  const complete = names.map((name) => join(folder, name)).filter((path) => existsSync(join(path, ".complete")));
  return complete.sort((one, other) => since(one) - since(other)).at(-1);
}

/**
 * The kernel of an entry, unpacked in the cache. What is there is taken as it is; `refresh` asks Debian for a newer one.
 * @param busybox its depmod is used where the package brings no modules.dep
 */
export async function fetchDebianKernel(entry: KernelEntry, busybox: string, refresh = false): Promise<Kernel> {
  const have = cached(entry);
  if (have !== undefined && !refresh) return kernelBelow(have, entry.name);
  const apt = await aptFor(entry.suite);
  await apt(["apt-get", "update"]);
  const packages = await packagesOf(entry.package, apt);
  const target = join(cacheFolder(), "kernels", `${entry.suite}-${packages[0]}`);
  if (existsSync(join(target, ".complete"))) return kernelBelow(target, entry.name);
  mkdirSync(join(target, ".."), { recursive: true });
  const folder = mkdtempSync(join(cacheFolder(), "kernel.part-"));
  try {
    // apt checks each file against the signed lists.
    await apt(["apt-get", "download", ...packages], folder);
    for (const deb of readdirSync(folder).filter((file) => file.endsWith(".deb"))) {
      const { status, output } = await runQuietly(["dpkg-deb", "-x", deb, "."], { cwd: folder });
      if (status !== 0) throw new VmUnavailable(`dpkg-deb -x ${deb}: ${lastLine(output)}`);
      rmSync(join(folder, deb));
    }
    const { modules = "", release } = kernelBelow(folder, entry.name);
    const base = join(modules, "../../..");
    await runQuietly([busybox, "depmod", "-b", base, release], { cwd: base });
    writeFileSync(join(folder, ".complete"), packages.join("\n"));
    rmSync(target, { recursive: true, force: true });
    renameSync(folder, target);
    return kernelBelow(target, entry.name);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function kernelBelow(folder: string, name: string): Kernel {
  // Since Debian 13 packages have their modules in usr/lib, since 7.x the image as well.
  const root = existsSync(join(folder, "lib/modules")) ? folder : join(folder, "usr");
  const release = existsSync(join(root, "lib/modules")) ? readdirSync(join(root, "lib/modules"))[0] : undefined;
  if (release === undefined) throw new VmUnavailable(`${name}: no modules in the packages`);
  const image = [join(folder, `boot/vmlinuz-${release}`), join(root, "lib/modules", release, "vmlinuz")].find(
    existsSync,
  );
  if (image === undefined) throw new VmUnavailable(`${name}: no vmlinuz in the packages`);
  return { release, image, modules: join(root, "lib/modules", release) };
}
