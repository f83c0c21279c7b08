// SPDX-License-Identifier: Apache-2.0
/** Other releases of Node than the one that runs the tests, downloaded into the cache and run from there. */
import { existsSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runQuietly, startProgress } from "../../scripts/setup/progress.mjs";
import { cacheFolder, lastLine } from "./deb-cache.ts";

/** One release of every major version that is supported. */
export const NODE_RELEASES = ["20.20.2", "22.23.3", "24.21.0"] as const;
export type NodeVersion = (typeof NODE_RELEASES)[number];

export type NodeRelease =
  | { readonly ok: true; readonly command: string }
  | { readonly ok: false; readonly reason: string };

/** The release, fetched on first use from the npm registry; never throws for a network that is not there. */
export function nodeRelease(version: NodeVersion): Promise<NodeRelease> {
  const asked = releases.get(version) ?? fetched(version);
  releases.set(version, asked);
  return asked;
}

/** A network that is away is waited for once. */
const releases = new Map<NodeVersion, Promise<NodeRelease>>();

async function fetched(version: NodeVersion): Promise<NodeRelease> {
  const name = `node-linux-${process.arch}`;
  const root = join(cacheFolder(), `${name}-${version}`);
  const command = join(root, "node_modules", name, "bin/node");
  if (existsSync(command)) return tried(version, command);
  const progress = startProgress(`download Node ${version} from the npm registry`);
  const folder = mkdtempSync(`${root}.part-`);
  try {
    // npm checks the file against the registry's SHA-512.
    const flags = ["--ignore-scripts", "--no-save", "--no-audit", "--no-fund", "--fetch-retries=0"];
    const install = ["npm", "install", "--prefix", folder, ...flags, `${name}@${version}`];
    const { status, output } = await runQuietly(install, { cwd: folder });
    const failure = status === 0 ? undefined : (/npm error .+/.exec(output)?.[0] ?? lastLine(output));
    progress.end(failure ?? "done");
    if (failure !== undefined) return { ok: false, reason: `Node ${version}: ${failure}` };
    rmSync(root, { recursive: true, force: true });
    renameSync(folder, root);
    return await tried(version, command);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function tried(version: NodeVersion, command: string): Promise<NodeRelease> {
  const { status, output } = await runQuietly([command, "--version"]);
  if (status === 0 && output.trim() === `v${version}`) return { ok: true, command };
  return { ok: false, reason: `Node ${version} does not start: ${lastLine(output)}` };
}
