// SPDX-License-Identifier: Apache-2.0
/** Where a back-end cannot do as the others do, and why. */
import { isProxyAway } from "./expectation.ts";
import type { Cell } from "./run.ts";
import type { Setting } from "./settings.ts";

export interface Difference {
  /** Modes of the columns it concerns. */
  readonly modes: readonly string[];
  /** Cells it concerns, whatever was observed in them. */
  readonly concerns: (cell: Cell) => boolean;
  /** What is observed in place of what is expected. */
  readonly observed: (cell: Cell) => string;
  /** Nobody answers, so that there is no use in waiting. */
  readonly silent?: boolean;
  /** In sentences, for the documentation. */
  readonly reason: string;
}

/** A setting that a back-end refuses; what was in force stays. */
export interface Refusal {
  readonly modes: readonly string[];
  readonly dimension: keyof Setting["values"];
  readonly value: string;
  /** What the agent says. */
  readonly says: RegExp;
}

const RULES = ["iptables", "tproxy", "nftables"];
const BY_RULES = ["mixed", ...RULES];
const BY_EBPF = ["ebpf", "mixed"];

const linkLocal = ({ traffic }: Cell): boolean => traffic.id === "17";
const outbound = ({ traffic }: Cell): boolean => traffic.direction === "outbound";
const away = ({ traffic, setting }: Cell, failMode: string): boolean =>
  isProxyAway(traffic) && setting.values["fail mode"] === failMode;
const isReroute = ({ values }: Setting): boolean => values.interfaces.startsWith("reroute");
const FIRST_RESOLVER = "10.244.9.53";

export const DIFFERENCES: readonly Difference[] = [
  {
    modes: BY_EBPF,
    concerns: (cell) => outbound(cell) && cell.expected === "refused",
    observed: () => "not permitted",
    reason:
      "eBPF refuses in connect() itself, before a packet is sent: the error is EPERM. Rules let the kernel answer the packet: ECONNREFUSED.",
  },
  {
    modes: RULES,
    concerns: (cell) => linkLocal(cell) && cell.expected === "refused",
    observed: () => "no answer",
    silent: true,
    reason:
      "A link-local destination means nothing without its interface, which a redirected connection does not keep. Rules can only have its packets lost: an answer would have to go back through that interface.",
  },
  {
    modes: RULES,
    concerns: (cell) => outbound(cell) && away(cell, "direct") && cell.expected === "direct",
    observed: () => "refused",
    reason: "Rules cannot see whether the proxy listens: `failMode: direct` is `deny` to them, and a warning says so.",
  },
  {
    modes: BY_RULES.filter((mode) => mode !== "tproxy"),
    concerns: (cell) => !outbound(cell) && away(cell, "direct") && cell.expected === "direct",
    observed: () => "refused",
    reason: "As above, inbound.",
  },
  {
    modes: ["tproxy"],
    concerns: (cell) => !outbound(cell) && isProxyAway(cell.traffic) && cell.enters,
    observed: () => "no answer",
    silent: true,
    reason: "TPROXY drops what it finds no listener for, whatever the fail mode; a warning says so.",
  },
  {
    modes: ["tproxy"],
    concerns: ({ traffic, setting, expected, enters }) =>
      traffic.forwarded === true && expected === "direct" && enters && !isReroute(setting),
    observed: () => "inbound, without success",
    silent: true,
    reason:
      "TPROXY hands over whatever arrives, as Istio's does, so that addresses which are routed to the pod without being its own reach the proxy. A pod that routes for others names the interface in `interfaces.exclude` or `interfaces.reroute`.",
  },
  {
    modes: RULES,
    concerns: ({ traffic, family, setting, expected }) =>
      traffic.transport === "dns-udp" &&
      setting.values.dns === "all" &&
      expected === "dns" &&
      !(traffic.id === "8c" && family === "v4"),
    observed: () => `dns, of ${FIRST_RESOLVER}`,
    reason:
      "With `dns: all` nothing tells the forwarder where a datagram was going before it was redirected: it asks the workload's first resolver, and the answer seems to come from the one that was asked.",
  },
  {
    modes: BY_EBPF,
    concerns: ({ traffic, setting }) => traffic.from === "machine" && isReroute(setting),
    observed: ({ traffic, setting, enters }) => {
      if (traffic.forwarded || !enters) return "direct";
      return setting.values.source === "preserved" ? "inbound as client" : "inbound";
    },
    reason:
      "What a machine behind the pod sends has no socket in the pod, and eBPF decides by sockets. The agent refuses `interfaces.reroute` in these modes and says so; the policy that was in force stays.",
  },
];

export const REFUSALS: readonly Refusal[] = [
  {
    modes: BY_EBPF,
    dimension: "interfaces",
    value: "reroute vm0",
    says: /interfaces\.reroute: needs a mode with rules/,
  },
];

export function refusalOf(mode: string, { values }: Setting): Refusal | undefined {
  return REFUSALS.find(({ modes, dimension, value }) => modes.includes(mode) && values[dimension] === value);
}

/** Index of the difference that a cell shows as it should. */
export function listedDifference(mode: string, cell: Cell): number | undefined {
  const index = DIFFERENCES.findIndex(({ modes, concerns }) => modes.includes(mode) && concerns(cell));
  return index < 0 ? undefined : index;
}

/** What is wrong with a cell: neither as expected nor a listed difference, or a listed difference that is none any more. */
export function problemOf(mode: string, cell: Cell): string | undefined {
  const index = listedDifference(mode, cell);
  const difference = index === undefined ? undefined : DIFFERENCES[index];
  const should = difference?.observed(cell) ?? cell.expected;
  if (cell.observed === should) return undefined;
  const { traffic, family, setting } = cell;
  const vanished =
    difference && cell.observed === cell.expected ? ` (difference ${(index ?? 0) + 1} has vanished)` : "";
  return `${traffic.id} ${family} (${traffic.title}) with ${setting.title}: ${cell.observed}, not ${should}${vanished}`;
}
