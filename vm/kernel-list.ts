// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What a kernel is held against. */
export interface Expectation {
  readonly mode: string;
  readonly tier: string | null;
  /** Feature that the reason of the choice names; absent where nothing better exists. */
  readonly because?: string;
  /** Features that are not there, each with why; every other one has to be. */
  readonly missing: Readonly<Record<string, string>>;
}

/** One kernel of the matrix: a line of kernels.json. */
export interface KernelEntry {
  readonly name: string;
  /** Release of Debian that it comes from. */
  readonly suite: string;
  readonly package: string;
  readonly expected: Expectation;
  /** The one that `npm test` boots. */
  readonly inTestRun?: boolean;
}

export function readKernelList(): readonly KernelEntry[] {
  return JSON.parse(readFileSync(join(import.meta.dirname, "kernels.json"), "utf8")) as readonly KernelEntry[];
}
