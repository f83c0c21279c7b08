// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { findCommand } from "../../scripts/setup/machine.mjs";
import { runQuietly } from "../../scripts/setup/progress.mjs";
import { cacheFolder, lastLine, unpackPackage } from "./deb-cache.ts";

/** A program linked statically with musl, or why there is none. */
export type MuslProgram =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly reason: string };

/** Compiles one C file with the musl of Debian, unpacked into the cache; musl-gcc would look for it in /usr. */
export async function compileWithMusl(source: string, name: string): Promise<MuslProgram> {
  if (findCommand("gcc") === undefined) return { ok: false, reason: "gcc is missing" };
  const unpacked = await unpackPackage("musl-tools");
  if (!unpacked.ok) return unpacked;
  const triplet = readdirSync(join(unpacked.root, "usr/lib")).find((folder) => folder.endsWith("-linux-musl"));
  const libraries = join(unpacked.root, "usr/lib", triplet ?? "");
  if (triplet === undefined || !existsSync(join(libraries, "libc.a")))
    return { ok: false, reason: `no libc.a of musl below ${unpacked.root}` };
  const path = join(cacheFolder(), `${name}-${process.arch}`);
  const part = `${path}.part-${process.pid}`;
  const start = ["crt1.o", "crti.o"].map((file) => join(libraries, file));
  const end = ["libc.a", "crtn.o"].map((file) => join(libraries, file));
  const include = ["-nostdinc", "-isystem", join(unpacked.root, "usr/include", triplet)];
  const link = ["-static", "-no-pie", "-nostdlib", ...start, source, ...end, "-lgcc"];
  const { status, output } = await runQuietly(["gcc", "-O1", ...include, "-o", part, ...link]);
  if (status !== 0) return { ok: false, reason: `gcc with musl: ${lastLine(output)}` };
  renameSync(part, path);
  return { ok: true, path };
}
