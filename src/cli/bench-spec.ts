// SPDX-License-Identifier: Apache-2.0
import { type CommandSpec, InvalidValue } from "./command-spec.ts";
import { toggle, value } from "./option-specs.ts";
import { nonEmpty } from "./option-values.ts";

function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new InvalidValue("a regular expression");
  }
}

export const BENCH: CommandSpec = {
  name: "bench",
  summary: "measure what interception and proxies cost on this machine",
  description: [
    "Compares direct connections with iptables, TPROXY, nftables, eBPF and accelerated eBPF, with one and two proxies on the path, Shunt's and those of others that are installed, over loopback and over veth, in rounds that take turns. Prints ratios to direct with their spread; a ratio that its spread hides is not told. Needs root; makes network namespaces and takes them away. docs/benchmarks.md has the method.",
    "All of it takes more than an hour, --quick two minutes. Figures need a machine that does nothing else.",
  ],
  options: [
    toggle("--quick", "loopback and two proxies only: Shunt's, and HAProxy with iptables"),
    value("--only", "PATTERN", "what has a name that fits, such as ebpf-spliced/2-shunt/polling/latency/c16/100B", {
      parse: pattern,
    }),
    value("--json", "FILE", "also write all figures to FILE (- for standard output, instead of the table)", {
      parse: nonEmpty,
      completion: "file",
    }),
    value("--html", "FILE", "also write a report with plots to FILE, which needs no network", {
      parse: nonEmpty,
      completion: "file",
    }),
  ],
  arguments: [],
  examples: [
    "shunt bench --quick --html bench.html",
    "shunt bench --only 'loopback/(iptables|ebpf)/2-shunt/polling/latency' --json -",
  ],
};
