// SPDX-License-Identifier: Apache-2.0
/** Runs nft inside a network namespace. */
import { existsSync } from "node:fs";
import { ExecError, run } from "../../util/exec.ts";
import { findCgroup2 } from "../../util/mountinfo.ts";
import { NFT_CGROUP_ROOT } from "./cgroup-match.ts";
import { TABLE_WORDS } from "./naming.ts";
import { NftablesError } from "./nftables-error.ts";
import { ScriptFile } from "./script-file.ts";
import { parseListing, type TableState } from "./table-state.ts";

const TIMEOUT_MS = 15_000;

/** A namespace by path, or a fresh one that ends with the program. */
export type Where = { readonly netnsPath: string } | "scratch";

/** Applies a text as one transaction: all of it is in force afterwards, or, on a throw, nothing. */
export async function applyScript(where: Where, script: string, signal?: AbortSignal): Promise<void> {
  try {
    await nft(where, ["nft", "-f", "-"], script, signal);
  } catch (error) {
    throw refusal("rules were refused", error, script);
  }
}

/** Our table as it is; undefined where there is none. */
export async function readTable(where: Where, signal?: AbortSignal): Promise<TableState | undefined> {
  try {
    return parseListing(await nft(where, ["nft", "-j", "list", "table", ...TABLE_WORDS.split(" ")], "", signal));
  } catch (error) {
    if (error instanceof ExecError && /No such file or directory/.test(error.stderr)) return undefined;
    throw refusal("rules could not be read", error);
  }
}

/** Counters of our table, by name: how many packets. */
export async function readCounters(where: Where, signal?: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const words = ["nft", "-j", "list", "counters", "table", ...TABLE_WORDS.split(" ")];
  const { counters } = parseListing(await nft(where, words, "", signal));
  return counters;
}

/** Applies a text in a fresh namespace and gives back how the same nft lists the table then. */
export async function canonicalTable(script: string, signal?: AbortSignal): Promise<TableState> {
  const both = 'nft -f - && exec nft -j list table "$@"';
  try {
    return parseListing(await nft("scratch", ["sh", "-c", both, "sh", ...TABLE_WORDS.split(" ")], script, signal));
  } catch (error) {
    throw refusal("rules were refused", error, script);
  }
}

async function nft(where: Where, command: readonly string[], stdin: string, signal?: AbortSignal): Promise<string> {
  const scratch = where === "scratch";
  const [program, ...args] = [
    ...(scratch ? ["unshare", "--net", "--"] : ["nsenter", `--net=${where.netnsPath}`, "--"]),
    ...withCgroup2(),
    ...command,
  ] as [string, ...string[]];
  const script = new ScriptFile(stdin);
  try {
    const { stdout } = await run(program, args, {
      stdinFd: script.fd,
      timeoutMs: TIMEOUT_MS,
      // Messages are looked at.
      env: { ...process.env, LC_ALL: "C" },
      ...(signal && { signal }),
    });
    return stdout;
  } finally {
    script[Symbol.dispose]();
  }
}

/** nft looks for cgroups in one place, where another tree may be mounted: it gets a view of its own then. */
function withCgroup2(): string[] {
  const mountPoint = findCgroup2()?.mountPoint;
  if (mountPoint === undefined || mountPoint === NFT_CGROUP_ROOT || !existsSync(NFT_CGROUP_ROOT)) return [];
  const script = `mount --bind "$0" ${NFT_CGROUP_ROOT} && exec "$@"`;
  return ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script, mountPoint];
}

/** nft's own words, and the line they are about. */
function refusal(what: string, error: unknown, script?: string): NftablesError {
  if (!(error instanceof ExecError))
    return new NftablesError("ERR_NFTABLES_APPLY", `${what}: ${String(error)}`, { cause: error });
  if (error.status === 127) {
    const message = /nft.*not found|execute nft/.test(error.stderr) ? "nft is not installed" : error.message;
    return new NftablesError("ERR_NFTABLES_UNAVAILABLE", message, { cause: error });
  }
  const said = error.stderr.split("\n").find((line) => /Error:/.test(line));
  const [, number, reason] = /^[^:]*:(\d+):[\d-]+: Error: (.*)$/.exec(said ?? "") ?? [];
  const line = number === undefined ? undefined : script?.split("\n")[Number(number) - 1]?.trim();
  const detail = reason ?? said?.trim() ?? error.message;
  const suffix = line === undefined || line === "" ? "" : ` (${line})`;
  return new NftablesError("ERR_NFTABLES_APPLY", `${what}: ${detail}${suffix}`, { cause: error });
}
