// SPDX-License-Identifier: Apache-2.0
/** Kernels of any Debian release, by an apt whose sources and lists are ours: the host's own apt is neither asked nor changed. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findCommand } from "../scripts/setup/machine.mjs";
import { runQuietly } from "../scripts/setup/progress.mjs";
import { cacheFolder, lastLine, unpackPackage } from "../test/support/deb-cache.ts";
import type { KernelEntry } from "./kernel-list.ts";
import type { Kernel } from "./parts.ts";
import { VmUnavailable } from "./unavailable.ts";

const KEYRING = "usr/share/keyrings/debian-archive-keyring.gpg";

/** Debian's keys, installed or unpacked from the host's own distribution, whose apt vouches for them. */
async function findKeyring(): Promise<string> {
  if (existsSync(join("/", KEYRING))) return join("/", KEYRING);
  const unpacked = await unpackPackage("debian-archive-keyring", { alone: true });
  if (!unpacked.ok) throw new VmUnavailable(`Debian's kernels can't be verified: ${unpacked.reason}`);
  return join(unpacked.root, KEYRING);
}

const MIRROR = "http://deb.debian.org";

/** A state folder for one release. Only the package lists are fetched, and only those that Debian has signed. */
async function aptFor(suite: string): Promise<(command: readonly string[], cwd?: string) => Promise<string>> {
  if (findCommand("apt-get") === undefined)
    throw new VmUnavailable("Debian's kernels come by apt-get, which is missing");
  const folder = join(cacheFolder(), `apt-${suite}`);
  for (const path of ["state/lists/partial", "cache/archives/partial"])
    mkdirSync(join(folder, path), { recursive: true });
  writeFileSync(join(folder, "state/status"), "");
  const options = `[arch=amd64 targets=Packages signed-by=${await findKeyring()}]`;
  const sources = [`deb ${options} ${MIRROR}/debian ${suite} main`];
  if (suite !== "sid") sources.push(`deb ${options} ${MIRROR}/debian-security ${suite}-security main`);
  writeFileSync(join(folder, "sources.list"), `${sources.join("\n")}\n`);
  const settings = {
    "Dir::State": join(folder, "state"),
    "Dir::State::status": join(folder, "state/status"),
    "Dir::Cache": join(folder, "cache"),
    "Dir::Etc::sourcelist": join(folder, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::Etc::preferences": "/dev/null",
    "Dir::Etc::preferencesparts": "/dev/null",
    "Dir::Etc::trusted": "/dev/null",
    "Dir::Etc::trustedparts": "/dev/null",
    "APT::Architecture": "amd64",
    "APT::Update::Error-Mode": "any",
    "Acquire::Languages": "none",
    // Nobody but root reads the cache; apt's own user can't.
    "APT::Sandbox::User": "root",
  };
  // Given by -c, the file is read after the host's settings, whose proxy is kept.
  const file = join(folder, "apt.conf");
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";`);
  writeFileSync(file, `${lines.join("\n")}\n#clear APT::Architectures;\nAPT::Architectures { "amd64"; };\n`);
  return async ([program = "", ...args], cwd = folder) => {
    const env = { ...process.env, LC_ALL: "C" };
    const { status, output } = await runQuietly([program, "-c", file, ...args], { cwd, env });
    if (status !== 0) throw new VmUnavailable(`${program} ${args.join(" ")} (${suite}): ${lastLine(output)}`);
    return output;
  };
}

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
