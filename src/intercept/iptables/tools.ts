// SPDX-License-Identifier: Apache-2.0
/** The iptables programs of this machine and how they are run inside a network namespace. */
import { setTimeout as delay } from "node:timers/promises";
import { ExecError, type RunResult, run } from "../../util/exec.ts";
import { IptablesError } from "./iptables-error.ts";
import { withLockFile } from "./lock-file.ts";
import type { Family } from "./rule.ts";

/** Both talk to the same hooks of the kernel, but neither sees the rules of the other. */
export type Flavour = "nft" | "legacy";

export interface FamilyTools {
  readonly save: string;
  readonly restore: string;
}

export interface Tools {
  readonly flavour: Flavour;
  readonly 4: FamilyTools;
  /** Undefined when ip6tables is not installed. */
  readonly 6: FamilyTools | undefined;
}

/** Seconds to wait for /run/xtables.lock; the nft flavour takes none and ignores it. */
const LOCK_WAIT_SECONDS = "5";
const TIMEOUT_MS = 15_000;
/** Between attempts to change a table that somebody else is changing. */
const RETRY_MS = 50;
/** From when on such a change is given up. */
const RETRY_LIMIT_MS = 20_000;

function toolsNamed(family: Family, suffix: string): FamilyTools {
  const base = `${family === 4 ? "iptables" : "ip6tables"}${suffix}`;
  return { save: `${base}-save`, restore: `${base}-restore` };
}

/** "iptables v1.8.9 (nf_tables)"; versions before 1.8 name no flavour and are legacy. Undefined: not installed. */
async function versionOf(program: string, signal?: AbortSignal): Promise<Flavour | undefined> {
  try {
    const { stdout } = await run(program, ["--version"], { timeoutMs: TIMEOUT_MS, ...(signal && { signal }) });
    return stdout.includes("nf_tables") ? "nft" : "legacy";
  } catch (error) {
    if (error instanceof ExecError && error.code !== "ERR_EXEC_ABORTED") return undefined;
    throw error;
  }
}

/** What is installed, the machine's default first. Empty: no iptables at all. */
export async function installedTools(signal?: AbortSignal): Promise<Tools[]> {
  const find = async (suffix: string): Promise<Tools | undefined> => {
    const [v4, v6] = await Promise.all([
      versionOf(toolsNamed(4, suffix).restore, signal),
      versionOf(toolsNamed(6, suffix).restore, signal),
    ]);
    return v4 && { flavour: v4, 4: toolsNamed(4, suffix), 6: v6 && toolsNamed(6, suffix) };
  };
  const [standard, nft, legacy] = await Promise.all([find(""), find("-nft"), find("-legacy")]);
  const tools: Tools[] = [];
  for (const candidate of [standard, nft, legacy]) {
    if (candidate && !tools.some((t) => t.flavour === candidate.flavour)) tools.push(candidate);
  }
  return tools;
}

/** A network namespace to run in: by path, or a fresh one that ends with the program. */
export type Where = { readonly netnsPath: string } | "scratch";

/** Runs a program in another network namespace; everything else stays ours, the file system included. */
export function execIn(
  where: Where,
  program: string,
  args: readonly string[],
  options: {
    readonly stdin?: string;
    readonly signal?: AbortSignal | undefined;
    /** Besides those of this process. */
    readonly env?: Readonly<Record<string, string>>;
  } = {},
): Promise<RunResult> {
  const [runner, first] = where === "scratch" ? ["unshare", "--net"] : ["nsenter", `--net=${where.netnsPath}`];
  return run(runner, [first, "--", program, ...args], {
    timeoutMs: TIMEOUT_MS,
    ...(options.stdin !== undefined && { stdin: options.stdin }),
    ...(options.env && { env: { ...process.env, ...options.env } }),
    ...(options.signal && { signal: options.signal }),
  });
}

/** All rules of the namespace in this flavour and family. */
export async function save(where: Where, tools: FamilyTools, signal?: AbortSignal): Promise<string> {
  try {
    return (await execIn(where, tools.save, [], { signal })).stdout;
  } catch (error) {
    throw new IptablesError("ERR_IPTABLES_APPLY", `rules could not be read: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Applies a text table by table, each completely or not at all. A table that somebody else is changing meanwhile, by
 * which the kernel or the lock turns us away, is tried again.
 */
export async function restore(where: Where, tools: FamilyTools, text: string, signal?: AbortSignal): Promise<void> {
  for (const table of tablesOf(text)) await restoreTable(where, tools, table, signal);
}

/** `*nat` to `COMMIT`, one string each. */
export function tablesOf(text: string): string[] {
  return text.split(/^(?=\*)/m).filter((table) => table !== "");
}

function restoreTable(where: Where, tools: FamilyTools, text: string, signal?: AbortSignal): Promise<unknown> {
  const args = ["--noflush", "-w", LOCK_WAIT_SECONDS];
  return insist(text, signal, (env) => execIn(where, tools.restore, args, { stdin: text, signal, env }));
}

/** Applies a text in a fresh namespace and gives back how the same program writes it. */
export async function canonicalForm(tools: FamilyTools, text: string, signal?: AbortSignal): Promise<string> {
  const script = '"$1" --noflush -w "$2" && exec "$3"';
  const args = ["-c", script, "sh", tools.restore, LOCK_WAIT_SECONDS, tools.save];
  return (await insist(text, signal, (env) => execIn("scratch", "sh", args, { stdin: text, signal, env }))).stdout;
}

/** Runs a program that takes `text` until nobody is in its way, or it was refused for another reason. */
async function insist(
  text: string,
  signal: AbortSignal | undefined,
  attempt: (env: Readonly<Record<string, string>>) => Promise<RunResult>,
): Promise<RunResult> {
  const deadline = Date.now() + RETRY_LIMIT_MS;
  for (;;) {
    try {
      return await withLockFile(attempt);
    } catch (error) {
      if (!isContention(error) || Date.now() > deadline) {
        const refusal = `rules were refused: ${messageOf(error)}${refusedLine(error, text)}`;
        throw new IptablesError("ERR_IPTABLES_APPLY", refusal, { cause: error });
      }
      await delay(RETRY_MS, undefined, signal && { signal });
    }
  }
}

/** EAGAIN of the legacy kernel interface, EBUSY of a concurrent nf_tables transaction, or the lock. */
function isContention(error: unknown): boolean {
  const said = error instanceof ExecError ? error.stderr : "";
  return /Resource temporarily unavailable|Device or resource busy|holding the xtables lock/i.test(said);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** iptables-restore names the line, which says little without its text. COMMIT stands for the whole table. */
function refusedLine(error: unknown, text: string): string {
  const line = error instanceof ExecError ? /line:? (\d+)/.exec(error.stderr)?.[1] : undefined;
  const content = line === undefined ? undefined : text.split("\n")[Number(line) - 1];
  return content === undefined || content === "COMMIT" ? "" : ` (${content})`;
}
