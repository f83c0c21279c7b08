// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";

/** Controllers of cgroup v1 that write their tag on a socket where its v2 cgroup would be. */
const TAGGING = ["net_cls", "net_prio"];

/**
 * Whether somebody has cgroups of v1 that tag sockets. Before 5.15 the first tag makes all sockets of the machine, from
 * then on and without a word, those of the root cgroup to every hook (cgroup_sk_alloc_disable, kernel/cgroup/cgroup.c).
 * A mere mount, as systemd's hybrid set-up has it, is none. `table`: /proc/cgroups, cgroups(7).
 */
export function socketsMayBeTagged(table = readFileSync("/proc/cgroups", "utf8")): boolean {
  return table.split("\n").some((line) => {
    const [name = "", hierarchy, cgroups] = line.split("\t");
    return TAGGING.includes(name) && hierarchy !== "0" && Number(cgroups) > 1;
  });
}
