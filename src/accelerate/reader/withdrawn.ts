// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import type { TypedMap } from "../../bpf/typed-map.ts";
import type { FileIdentity } from "./file-identity.ts";

type Withdrawn = TypedMap<"accel_withdrawn">;

export function isWithdrawn(map: Withdrawn, executable: FileIdentity): boolean {
  return map.get(keyOf(executable)) !== undefined;
}

/** For all threads that have the map. False where it was so already. */
export function withdraw(map: Withdrawn, executable: FileIdentity): boolean {
  return map.add(keyOf(executable), 1);
}

function keyOf(executable: FileIdentity): bigint {
  return createHash("sha256").update(executable).digest().readBigUInt64LE();
}
