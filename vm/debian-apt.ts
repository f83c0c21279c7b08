// SPDX-License-Identifier: Apache-2.0
/** An apt whose sources and lists are ours, for any Debian release: the host's own apt is neither asked nor changed. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findCommand } from "../scripts/setup/machine.mjs";
import { runQuietly } from "../scripts/setup/progress.mjs";
import { cacheFolder, lastLine, unpackPackage } from "../test/support/deb-cache.ts";
import { VmUnavailable } from "./unavailable.ts";

const KEYRING = "usr/share/keyrings/debian-archive-keyring.gpg";

/** Debian's keys, installed or unpacked from the host's own distribution, whose apt vouches for them. */
async function findKeyring(): Promise<string> {
  if (existsSync(join("/", KEYRING))) return join("/", KEYRING);
  const unpacked = await unpackPackage("debian-archive-keyring", { alone: true });
  if (!unpacked.ok) throw new VmUnavailable(`Debian's kernels can't be verified: ${unpacked.reason}`);
  return join(unpacked.root, KEYRING);
}

/** Runs a program of apt's and gives its output; throws VmUnavailable with its last line. */
type Apt = (command: readonly string[], cwd?: string) => Promise<string>;

const MIRROR = "http://deb.debian.org";

/** A state folder for one release. Only the package lists are fetched, and only those that Debian has signed. */
export async function aptFor(suite: string): Promise<Apt> {
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
