// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";

/** The id of a group by group(5), or undefined for a name that is not there. Ids pass as they are. */
export function groupId(group: number | string, file = "/etc/group"): number | undefined {
  if (typeof group === "number") return group;
  for (const line of readText(file).split("\n")) {
    const [name, , id] = line.split(":");
    if (name === group && id !== undefined && /^\d+$/.test(id)) return Number(id);
  }
  return undefined;
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // Without the file no name is known, which is what the answer says.
    return "";
  }
}
