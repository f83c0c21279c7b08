// SPDX-License-Identifier: Apache-2.0
/** Small kernels that lack something on purpose, built from Debian's linux-source by vm/build-kernel. */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { findCommand } from "../scripts/setup/machine.mjs";
import { runQuietly } from "../scripts/setup/progress.mjs";
import { cacheFolder, lastLine, unpackPackage } from "../test/support/deb-cache.ts";
import { aptFor } from "./debian-apt.ts";
import type { KernelEntry } from "./kernel-list.ts";
import { releaseOf } from "./own-kernel.ts";
import type { Kernel } from "./parts.ts";
import { VmUnavailable } from "./unavailable.ts";

/** What has to be on the machine; flex and bison are unpacked beside it where they are missing. */
const NEEDED = ["gcc", "make", "bc", "tar", "xz"];
const UNPACKED = ["flex", "bison"];

const SCRIPT = join(import.meta.dirname, "build-kernel");
const fragmentFile = (name: string): string => join(import.meta.dirname, "config", `${name}.config`);

/** Folders with source and objects of the packages that were built from in this run; they go with the process. */
const folders = new Map<string, string>();
let last: Promise<unknown> = Promise.resolve();

/**
 * The kernel of an entry that names fragments, from the cache or built now, which takes minutes. One is built after the
 * other: what a fragment does not touch is compiled once for all kernels of the same source.
 */
export async function buildDebianKernel(entry: KernelEntry, refresh = false): Promise<Kernel> {
  const fragments = entry.fragments ?? [];
  const recipe = createHash("sha256");
  for (const file of [SCRIPT, ...["base", ...fragments].map(fragmentFile)]) recipe.update(readFileSync(file));
  const target = join(cacheFolder(), "kernels", `built-${entry.name}-${recipe.digest("hex").slice(0, 12)}`);
  const image = join(target, "bzImage");
  if (refresh || !existsSync(image)) {
    const built = last.then(() => build(entry, fragments, image));
    last = built.catch(() => {});
    await built;
  }
  const release = releaseOf(readFileSync(image));
  if (release === undefined) throw new VmUnavailable(`${entry.name}: ${image} is not a bzImage`);
  return { release, image, modules: undefined };
}

async function build(entry: KernelEntry, fragments: readonly string[], image: string): Promise<void> {
  const missing = NEEDED.find((program) => findCommand(program) === undefined);
  if (missing !== undefined) throw new VmUnavailable(`${entry.name}: building a kernel needs ${missing}`);
  const env = await buildEnvironment();
  const folder = folders.get(entry.package) ?? mkdtempSync(join(cacheFolder(), "build.part-"));
  const run = async (command: readonly string[]): Promise<string> => {
    const { status, output } = await runQuietly(command, { cwd: folder, env });
    if (status !== 0) throw new VmUnavailable(`${entry.name}: ${command[0]}: ${lastLine(output)}`);
    return output;
  };
  if (!folders.has(entry.package)) {
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
    const apt = await aptFor(entry.suite);
    await apt(["apt-get", "update"]);
    await apt(["apt-get", "download", entry.package], folder);
    const [deb = ""] = readdirSync(folder);
    await run(["dpkg-deb", "-x", deb, "package"]);
    await run(["tar", "-xJf", `package/usr/src/${entry.package}.tar.xz`]);
    folders.set(entry.package, folder);
  }
  const built = lastLine(await run(["sh", SCRIPT, entry.package, "objects", ...fragments]));
  mkdirSync(join(image, ".."), { recursive: true });
  copyFileSync(built, `${image}.part`);
  copyFileSync(join(folder, "objects/.config"), join(image, "../config"));
  renameSync(`${image}.part`, image);
}

async function buildEnvironment(): Promise<NodeJS.ProcessEnv> {
  const env = { ...process.env };
  for (const name of UNPACKED) {
    if (findCommand(name) !== undefined) continue;
    const unpacked = await unpackPackage(name);
    if (!unpacked.ok) throw new VmUnavailable(unpacked.reason);
    const { root } = unpacked;
    env["PATH"] = `${join(root, "usr/bin")}:${env["PATH"]}`;
    // Both call m4, and bison its own files, by paths that are those of an installation.
    if (existsSync(join(root, "usr/bin/m4"))) env["M4"] = join(root, "usr/bin/m4");
    if (existsSync(join(root, "usr/share/bison"))) env["BISON_PKGDATADIR"] = join(root, "usr/share/bison");
  }
  return env;
}
