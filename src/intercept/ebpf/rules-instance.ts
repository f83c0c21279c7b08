// SPDX-License-Identifier: Apache-2.0
/** Names of the instances that commands leave in force, one for each workload: `rules-<id>`. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { PinDirectory, pinnedInstances } from "./pins.ts";

const PREFIX = "rules-";
/** A pin directory is known by its path alone, so what is to be remembered stands in names of empty directories below it. */
const LABELS = "labels";
/** bpffs takes names of 255 bytes, letters and digits among them; a workload's name can be longer once it is encoded. */
const PIECE = 200;

/** The same for one name in one namespace, whatever the namespace is called. */
export function rulesInstance(netnsInode: bigint, workload: string): string {
  return PREFIX + createHash("sha256").update(`${netnsInode}\0${workload}`).digest("hex").slice(0, 12);
}

export function isRulesInstance(name: string): boolean {
  return /^rules-[0-9a-f]{12}$/.test(name);
}

export function writeLabels(pins: PinDirectory, netnsInode: bigint, workload: string): void {
  const pieces =
    Buffer.from(workload)
      .toString("hex")
      .match(new RegExp(`.{1,${PIECE}}`, "g")) ?? [];
  const names = [`netns-${netnsInode}`, ...pieces.map((piece, i) => `name${i}-${piece}`)];
  for (const name of names) mkdirSync(join(pins.path, LABELS, name), { recursive: true });
}

/** Workloads that have an instance of their own in a namespace. */
export function rulesWorkloads(bpffs: string, netnsInode: bigint): string[] {
  return pinnedInstances(bpffs)
    .filter(isRulesInstance)
    .flatMap((instance) => {
      const folder = join(new PinDirectory(bpffs, instance).path, LABELS);
      const labels = existsSync(folder) ? readdirSync(folder) : [];
      return labels.includes(`netns-${netnsInode}`) ? [nameOf(labels)] : [];
    })
    .sort();
}

function nameOf(labels: readonly string[]): string {
  const pieces = labels.flatMap((label) => {
    const [, index, hex = ""] = /^name(\d+)-([0-9a-f]+)$/.exec(label) ?? [];
    return index === undefined ? [] : [{ index: Number(index), hex }];
  });
  const hex = pieces.sort((a, b) => a.index - b.index).map((piece) => piece.hex);
  return Buffer.from(hex.join(""), "hex").toString();
}
