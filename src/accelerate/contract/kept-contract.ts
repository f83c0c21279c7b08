// SPDX-License-Identifier: Apache-2.0
/** The verdict on this kernel, kept in a file until the machine boots again or the program is another version. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { behaviours } from "./behaviours.ts";
import { accelerationOf, type BehaviourVerdicts, type Contract, VERDICTS, type Verdict } from "./verdict.ts";

/** What a verdict is true of. */
export interface ContractKey {
  /** /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
  /** Of this program. */
  readonly version: string;
}

interface Kept extends ContractKey {
  readonly behaviours: BehaviourVerdicts;
}

/** Undefined when there is none, none for this boot and version, or what is there is no verdict. */
export function readKeptContract(path: string, key: ContractKey): Contract | undefined {
  let kept: Partial<Kept> | null;
  try {
    kept = JSON.parse(readFileSync(path, "utf8")) as Partial<Kept> | null;
  } catch {
    return undefined;
  }
  if (kept?.bootId !== key.bootId || kept.version !== key.version || !isComplete(kept.behaviours)) return undefined;
  // Decided anew: a file is no authority on what verdicts mean.
  return { acceleration: accelerationOf(kept.behaviours), behaviours: kept.behaviours };
}

/** Whoever reads meanwhile finds the old one or the new one whole. */
export function keepContract(path: string, key: ContractKey, { behaviours: verdicts }: Contract): void {
  const kept: Kept = { ...key, behaviours: verdicts };
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  writeFileSync(`${path}.${process.pid}`, JSON.stringify(kept), { mode: 0o644 });
  renameSync(`${path}.${process.pid}`, path);
}

function isComplete(verdicts: Partial<BehaviourVerdicts> | undefined): verdicts is BehaviourVerdicts {
  return behaviours.every(({ name }) => {
    const found = verdicts?.[name];
    return VERDICTS.includes(found?.verdict as Verdict) && typeof found?.detail === "string";
  });
}
