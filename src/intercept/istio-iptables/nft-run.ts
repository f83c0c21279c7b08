// SPDX-License-Identifier: Apache-2.0
/** Istio's native nftables form: everything in one transaction, so that there is never half of it. */
import { ExecError, run } from "../../util/exec.ts";
import type { RunOutcome } from "./iptables-run.ts";
import { refusal, type TargetNamespace } from "./target.ts";

/** Table → its text in the words of `nft -s list`. */
type Tables = ReadonlyMap<string, string>;

/**
 * Replaces our tables by what `script` makes. Nothing is touched when they are as that already; a table of ours that the
 * script does not make goes.
 */
export async function applyNft(target: TargetNamespace, script: string, prefix: string): Promise<RunOutcome> {
  const before = await ourTables(target, prefix);
  const undo = async (): Promise<void> => {
    target.ignoreSignal();
    const now = await ourTables(target, prefix);
    await transact(target, deletions(now.keys()) + [...before.values()].join(""));
  };
  const wanted = await canonicalTables(script, prefix, target.signal);
  if (wanted !== undefined && sameTables(before, wanted)) return { change: "none", details: [], undo };
  const made = new Set([...script.matchAll(/^\s*add table inet (\S+)/gm)].map((match) => match[1]));
  const stale = [...before.keys()].filter((name) => !made.has(name));
  // Deleted first, for a flush leaves chains that are not made any more. Nobody sees the moment between.
  await transact(target, `${deletions(before.keys())}${script}`);
  const change = before.size === 0 ? "applied" : "reconciled";
  return { change, details: stale.map((name) => `table ${name} should not be there`), undo };
}

/** The tables that were removed. */
export async function cleanUpNft(target: TargetNamespace, prefix: string): Promise<string[]> {
  const names = [...(await ourTables(target, prefix)).keys()];
  await transact(target, deletions(names));
  return names;
}

/** Names of our tables; none where nft is not installed. */
export async function nftTables(target: TargetNamespace, prefix: string): Promise<string[]> {
  try {
    return [...(await ourTables(target, prefix)).keys()];
  } catch (error) {
    target.signal?.throwIfAborted();
    if ((error as { code?: string }).code === "ERR_ISTIO_UNAVAILABLE") return [];
    throw error;
  }
}

async function ourTables(target: TargetNamespace, prefix: string): Promise<Tables> {
  try {
    return parseTables((await target.run("nft", ["-s", "list", "ruleset", "inet"])).stdout, prefix);
  } catch (error) {
    throw refusal("nftables rules could not be read", error);
  }
}

/** Tables of the family inet whose names Istio's begin with: "istio-proxy-". */
export function parseTables(listing: string, prefix: string): Tables {
  const start = `${prefix.toLowerCase()}-proxy-`;
  const tables = [...listing.matchAll(/^table inet (\S+) \{\n[^]*?^\}\n/gm)];
  return new Map(tables.filter((match) => match[1]?.startsWith(start)).map((match) => [match[1] ?? "", match[0]]));
}

function deletions(names: Iterable<string>): string {
  return [...names].map((name) => `delete table inet ${name}\n`).join("");
}

function sameTables(a: Tables, b: Tables): boolean {
  return a.size === b.size && [...a].every(([name, text]) => b.get(name) === text);
}

async function transact(target: TargetNamespace, script: string): Promise<void> {
  if (script === "") return;
  try {
    await target.run("nft", ["-f", "-"], script);
  } catch (error) {
    throw refusal("nftables rules were refused", error);
  }
}

/**
 * How nft lists what the script makes, found out in a namespace of its own; undefined where none may be made, as in an
 * init container: then the same transaction is simply made again.
 */
async function canonicalTables(script: string, prefix: string, signal?: AbortSignal): Promise<Tables | undefined> {
  const shell = "nft -f - && nft -s list ruleset inet";
  try {
    const options = { stdin: script, timeoutMs: 60_000, ...(signal && { signal }) };
    return parseTables((await run("unshare", ["--net", "--", "sh", "-c", shell], options)).stdout, prefix);
  } catch (error) {
    if (error instanceof ExecError && error.code !== "ERR_EXEC_ABORTED") return undefined;
    throw error;
  }
}
