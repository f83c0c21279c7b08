// SPDX-License-Identifier: Apache-2.0
/** Debian packages unpacked beside the system: nothing is installed, no service is started. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { findCommand } from "../../scripts/setup/machine.mjs";
import { runQuietly, startProgress } from "../../scripts/setup/progress.mjs";

/** Where downloads stay: $SHUNT_CACHE, or ~/.cache/shunt. */
export function cacheFolder(): string {
  const folder =
    process.env["SHUNT_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "shunt");
  mkdirSync(folder, { recursive: true });
  return folder;
}

export type Unpacked = { readonly ok: true; readonly root: string } | { readonly ok: false; readonly reason: string };

/** Last line of an apt or pip failure that says something. */
export function lastLine(output: string): string {
  return (
    output
      .trim()
      .split("\n")
      .filter((line) => line.trim() !== "")
      .at(-1) ?? "no output"
  );
}

/** "name=version" of a package and of everything it needs that the system does not have. */
async function closure(name: string): Promise<string[] | string> {
  const simulate = ["apt-get", "install", "--simulate", "--no-install-recommends", name];
  const { status, output } = await runQuietly(simulate, { env: { ...process.env, LC_ALL: "C" } });
  if (status !== 0) return lastLine(output);
  return [...output.matchAll(/^Inst (\S+) (?:\[\S+\] )?\((\S+)/gm)].map((match) => `${match[1]}=${match[2]}`);
}

/** The package alone, in the version that apt would install. */
async function candidate(name: string): Promise<string[] | string> {
  const { output } = await runQuietly(["apt-cache", "policy", name], { env: { ...process.env, LC_ALL: "C" } });
  const version = /Candidate: (\S+)/.exec(output)?.[1];
  return version === undefined || version === "(none)" ? "apt knows no such package" : [`${name}=${version}`];
}

async function downloadInto(folder: string, wanted: readonly string[]): Promise<string | undefined> {
  // apt checks each file against the signed package lists.
  const download = await runQuietly(["apt-get", "download", ...wanted], { cwd: folder });
  if (download.status !== 0) return `apt-get download: ${lastLine(download.output)}`;
  for (const deb of readdirSync(folder).filter((file) => file.endsWith(".deb"))) {
    const unpack = await runQuietly(["dpkg-deb", "-x", deb, "."], { cwd: folder });
    if (unpack.status !== 0) return `dpkg-deb -x ${deb}: ${lastLine(unpack.output)}`;
    rmSync(join(folder, deb));
  }
  return undefined;
}

/**
 * Unpacks a package into the cache and answers with the folder that stands for "/". `alone` leaves
 * its dependencies out, as for a kernel.
 */
export async function unpackPackage(name: string, { alone = false } = {}): Promise<Unpacked> {
  if (findCommand("apt-get") === undefined) return { ok: false, reason: `${name}: apt-get is missing on this system` };
  const wanted = alone ? await candidate(name) : await closure(name);
  if (typeof wanted === "string") return { ok: false, reason: `${name}: ${wanted}` };
  if (wanted.length === 0) return { ok: true, root: "/" };
  const version = wanted.find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1) ?? "any";
  const root = join(cacheFolder(), `${name}-${version}-${process.arch}`.replaceAll(/[^\w.+~-]/g, "_"));
  if (existsSync(join(root, ".complete"))) return { ok: true, root };
  const progress = startProgress(`download and unpack ${wanted.length} packages of ${name} ${version}`);
  const folder = mkdtempSync(`${root}.part-`);
  try {
    const failure = await downloadInto(folder, wanted);
    progress.end(failure ?? "done");
    if (failure !== undefined) return { ok: false, reason: `${name}: ${failure}` };
    writeFileSync(join(folder, ".complete"), wanted.join("\n"));
    rmSync(root, { recursive: true, force: true });
    renameSync(folder, root);
    return { ok: true, root };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** LD_LIBRARY_PATH for a program of an unpacked package. */
export function libraryPath(root: string): string {
  const tops = ["usr/lib", "lib"].map((folder) => join(root, folder)).filter((folder) => existsSync(folder));
  const triplets = tops.flatMap((top) =>
    readdirSync(top)
      .filter((name) => name.endsWith("-linux-gnu"))
      .map((name) => join(top, name)),
  );
  return [...triplets, ...tops].join(":");
}
