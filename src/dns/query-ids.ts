// SPDX-License-Identifier: Apache-2.0
import { randomInt } from "node:crypto";

/** A random id that `taken` doesn't know. Unpredictable, since it is half of what protects from forged answers. */
export function freshId(taken: (id: number) => boolean): number {
  for (;;) {
    const id = randomInt(0x10000);
    if (!taken(id)) return id;
  }
}
