// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readdirSync, renameSync, rmdirSync, unlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Status } from "../native/addon.ts";
import { check } from "../native/status.ts";

export interface Pinnable {
  pin(path: string): Status;
}

let counter = 0;

/**
 * Pins things under one directory of a bpffs, completely or not at all: they are pinned beside it and the
 * directory is renamed into place. Throws EEXIST or ENOTEMPTY when `directory` holds pins already.
 */
export function pinAll(directory: string, things: Readonly<Record<string, Pinnable>>): void {
  // Names with a dot are reserved in bpffs (kernel/bpf/inode.c, bpf_lookup).
  counter += 1;
  const draft = join(dirname(directory), `${basename(directory)}-new-${process.pid}-${counter}`);
  mkdirSync(draft);
  try {
    for (const [name, thing] of Object.entries(things)) {
      check(thing.pin(join(draft, name)), "bpf_obj_pin", join(directory, name));
    }
    renameSync(draft, directory);
  } catch (error) {
    removePins(draft);
    throw error;
  }
}

/** Unpins everything under a directory of a bpffs and removes it. Nothing there is no error. */
export function removePins(directory: string): void {
  let entries: ReturnType<typeof readEntries>;
  try {
    entries = readEntries(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  for (const entry of entries) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) removePins(path);
    else unlinkSync(path);
  }
  rmdirSync(directory);
}

function readEntries(directory: string) {
  return readdirSync(directory, { withFileTypes: true });
}
