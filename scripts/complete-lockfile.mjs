// SPDX-License-Identifier: Apache-2.0
// Adds the entries of other platforms' optional packages to package-lock.json. npm leaves out those
// that a registry mirror does not hold, and then `npm ci` of npm 11 refuses the file. Run it after
// `npm install`; the unit test of the lockfile says when it is needed.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./setup/stamp.mjs";

const systems = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];
const processors = ["arm64", "arm", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64", "wasm32"];

/**
 * What the manifest of a platform package would say, told from its name.
 * @param {string} name such as @biomejs/cli-linux-x64-musl
 */
export function platformOf(name) {
  const words = name.split("/").at(-1)?.split("-") ?? [];
  const os = systems.filter((word) => words.includes(word));
  const cpu = processors.filter((word) => words.includes(word));
  const musl = words.some((word) => word.startsWith("musl"));
  const libc = musl ? ["musl"] : words.some((word) => word.startsWith("gnu") || word === "glibc") ? ["glibc"] : [];
  if (name === "fsevents") os.push("darwin");
  return { ...(cpu.length > 0 && { cpu }), ...(libc.length > 0 && { libc }), ...(os.length > 0 && { os }) };
}

/**
 * Names with versions that some package may use on another platform and the lockfile does not have.
 * @param {{packages: Record<string, any>}} lock
 * @returns {{name: string, version: string, dev: boolean}[]}
 */
export function missingPlatforms(lock) {
  /** @type {Map<string, {name: string, version: string, dev: boolean}>} */
  const missing = new Map();
  for (const entry of Object.values(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      if (lock.packages[`node_modules/${name}`] !== undefined) continue;
      missing.set(name, { name, version: String(version).replace(/^[~^]/, ""), dev: entry.dev === true });
    }
  }
  return [...missing.values()];
}

if (process.argv[1]?.endsWith("complete-lockfile.mjs")) {
  const path = join(root, "package-lock.json");
  const lock = JSON.parse(readFileSync(path, "utf8"));
  const missing = missingPlatforms(lock);
  for (const { name, version, dev } of missing) {
    const platform = platformOf(name);
    if (Object.keys(platform).length === 0) throw new Error(`${name}: no platform in the name; add the entry by hand`);
    lock.packages[`node_modules/${name}`] = { version, ...(dev && { dev }), optional: true, ...platform };
  }
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
  process.stdout.write(`${missing.length} entries added\n`);
}
