// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { resolve } from "node:path";

const besideTheTree = resolve(import.meta.dirname, "../../../shared/peer");

/** A folder of other people's test cases: in $SHUNT_PEER_DIR, else in ../shared/peer; or why it cannot be had. */
export function peerFolder(name: string): { readonly path: string } | { readonly reason: string } {
  const named = process.env["SHUNT_PEER_DIR"];
  const tried = [...(named === undefined ? [] : [resolve(named)]), besideTheTree].map((root) => resolve(root, name));
  const path = tried.find((folder) => existsSync(folder));
  return path === undefined ? { reason: `none of ${tried.join(", ")} exists` } : { path };
}
