// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What a kernel is held against. */
export interface Expectation {
  readonly mode: string;
  readonly tier: string | null;
  /** Feature that the reason of the choice names; absent where nothing better exists. */
  readonly because?: string;
  /** How far acceleration may go, by the contract's self-test; not judged when absent. */
  readonly contract?: string;
  /** Features that are not there, and what the cells go without, each with why; every other one has to be. */
  readonly missing: Readonly<Record<string, string>>;
}

/** How a kernel is booted differently. */
export interface Boot {
  /** Words for the kernel's command line. */
  readonly append?: string;
  /** Which hierarchies the guest mounts; v2 alone when absent. */
  readonly cgroups?: "hybrid" | "v1";
  /** Commands that the shell of the cells begins with. */
  readonly prepare?: string;
}

/** One column of the matrix. */
export interface KernelEntry {
  readonly name: string;
  /** Release of Debian that it comes from. */
  readonly suite: string;
  readonly package: string;
  /** Built here from that package, with these fragments of vm/config. */
  readonly fragments?: readonly string[];
  readonly boot?: Boot;
  /** Only cells with one of these in their name; all when absent. */
  readonly cells?: readonly string[];
  readonly expected: Expectation;
  /** The one that `npm test` boots. */
  readonly inTestRun?: boolean;
}

/** A line of kernels.json. */
type Line = KernelEntry | Variant;

/** Says what differs from another line, `as`; features missing there are missing here. */
interface Variant extends Partial<Omit<KernelEntry, "expected">> {
  readonly name: string;
  readonly as: string;
  readonly expected?: Partial<Expectation>;
}

export function readKernelList(): readonly KernelEntry[] {
  const text = readFileSync(join(import.meta.dirname, "kernels.json"), "utf8");
  return resolveKernels(JSON.parse(text) as readonly Line[]);
}

export function resolveKernels(lines: readonly Line[]): readonly KernelEntry[] {
  return lines.map((line) => ("as" in line ? resolveVariant(line, lines) : line));
}

function resolveVariant({ as, ...variant }: Variant, lines: readonly Line[]): KernelEntry {
  const other = lines.find(({ name }) => name === as);
  if (other === undefined || "as" in other)
    throw new Error(`vm/kernels.json: ${variant.name} is as ${as}, which is not there by itself`);
  const { inTestRun: _inTestRun, ...base } = other;
  const missing = { ...base.expected.missing, ...variant.expected?.missing };
  return { ...base, ...variant, expected: { ...base.expected, ...variant.expected, missing } };
}
