// SPDX-License-Identifier: Apache-2.0
import { buildDebianKernel } from "./built-kernels.ts";
import { fetchDebianKernel } from "./debian-kernels.ts";
import type { KernelEntry } from "./kernel-list.ts";
import type { Emulator, Kernel } from "./parts.ts";

/** The kernel of a line of kernels.json, from the cache where it is there and `refresh` is not asked for. */
export function fetchKernel(entry: KernelEntry, { busybox }: Emulator, refresh = false): Promise<Kernel> {
  return entry.fragments === undefined ? fetchDebianKernel(entry, busybox, refresh) : buildDebianKernel(entry, refresh);
}
