// SPDX-License-Identifier: Apache-2.0
import { IstioConfigError } from "./istio-config-error.ts";

/** Ids by name from the text of an /etc/group (group(5)); the function throws an IstioConfigError for a name not in it. */
export function groupIds(etcGroup: string): (name: string) => number {
  const rows = etcGroup.split("\n").map((line) => line.split(":"));
  const ids = new Map(rows.map(([name = "", , id = ""]) => [name, Number(id)]));
  return (name) => {
    const id = ids.get(name);
    if (id === undefined)
      throw new IstioConfigError(
        "ERR_ISTIO_CONFIG",
        `group ${JSON.stringify(name)} is not one of the pod's /etc/group`,
      );
    return id;
  };
}
