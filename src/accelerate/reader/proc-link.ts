// SPDX-License-Identifier: Apache-2.0
import { readlinkSync } from "node:fs";

/** What a link of /proc leads to; undefined where it is gone: descriptors and processes go at any time. */
export function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
