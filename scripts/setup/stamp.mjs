// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** @param {string} path a file or folder below the root */
function filesUnder(path) {
  const absolute = join(root, path);
  if (!existsSync(absolute)) return [];
  if (statSync(absolute).isFile()) return [path];
  return readdirSync(absolute, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/(^|\/)build(\/|$)/.test(entry.parentPath.slice(absolute.length)))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}

/**
 * @param {readonly string[]} inputs files and folders; folders named "build" are outputs and left out
 * @param {readonly string[]} facts versions of tools and the like
 */
export function hashInputs(inputs, facts) {
  const hash = createHash("sha256");
  for (const fact of facts) hash.update(`${fact}\0`);
  for (const file of inputs.flatMap(filesUnder))
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update("\0");
  return hash.digest("hex");
}

/**
 * Runs `work` unless the same inputs were built before and the outputs are still there.
 * Content decides, not times: a fresh checkout or a touched file builds nothing again.
 * @param {{name: string, inputs: readonly string[], facts?: readonly string[], outputs: () => readonly string[]}} step
 * @param {() => Promise<void>} work
 */
export async function unlessUpToDate({ name, inputs, facts = [], outputs }, work) {
  const stamp = join(root, ".cache/stamps", name);
  const hash = hashInputs(inputs, facts);
  const isCurrent = () => existsSync(stamp) && readFileSync(stamp, "utf8") === hash;
  if (isCurrent() && outputs().every((path) => existsSync(join(root, path)))) return false;
  rmSync(stamp, { force: true });
  await work();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, hash);
  return true;
}
