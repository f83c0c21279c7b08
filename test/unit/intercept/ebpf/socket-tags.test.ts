// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { socketsMayBeTagged } from "../../../../src/intercept/ebpf/socket-tags.ts";

const HEAD = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t90\t1\nmemory\t3\t12\t1\n";

it.each([
  ["in the v2 hierarchy, or in none", "net_cls\t0\t90\t1\nnet_prio\t0\t90\t1\n", false],
  ["mounted alone", "net_cls\t5\t1\t1\nnet_prio\t5\t1\t1\n", false],
  ["with a cgroup of its own", "net_cls\t5\t2\t1\nnet_prio\t0\t90\t1\n", true],
  ["with a cgroup of its own, net_prio", "net_prio\t7\t3\t1\n", true],
  ["not built in", "", false],
])("net_cls and net_prio %s", (_, lines, tagged) => {
  expect(socketsMayBeTagged(HEAD + lines)).toBe(tagged);
});
