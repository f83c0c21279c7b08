// SPDX-License-Identifier: Apache-2.0
import type { Decision, Item, Question, Reason } from "../decision.ts";

/** Where a workload stands in the maps. */
export interface EbpfPlace {
  readonly slot: number;
  /** Number of the policy in force. */
  readonly policy: number;
}

/** Map and key of the entry that decided; `workloads[2].flags NAME` where a setting of the workload did. See RuleFor. */
export function ebpfRuleFor({ slot, policy }: EbpfPlace, question: Question, decision: Decision): string {
  const unproxied = decision.reason === "bound-device" || decision.reason === "link-local";
  if (unproxied) return `workloads[${slot}].fail_mode`;
  if (decision.item) return entryOf(policy, question, decision.item);
  const place = wholeWorkload(question, decision.reason);
  return place.startsWith("program ") ? place : `workloads[${slot}]${place}`;
}

function entryOf(policy: number, question: Question, item: Item): string {
  switch (item.kind) {
    case "port":
      return `ports[policy ${policy}, ${item.direction}, ${item.action}, ${item.port}]`;
    case "cidr":
      return `cidrs[policy ${policy}, ${item.set}, ${item.cidr.address}/${item.cidr.prefixLength}]`;
    case "owner":
      return `owners[policy ${policy}, ${item.by}, ${item.id}]`;
    case "address":
      return `local_addrs[${item.address}]`;
    case "interface":
      return question.direction === "inbound" || question.boundToDevice === true
        ? `interfaces[policy ${policy}, ${item.name}]`
        : `cidrs[policy ${policy}, interface-route, ${question.address}]`;
    default:
      return item satisfies never;
  }
}

const OUTBOUND: Partial<Record<Reason, string>> = {
  "direction-off": ".flags without OUTBOUND",
  "all-included": ".flags OUTBOUND_ALL",
  loopback: ".flags without CAPTURE_LOOPBACK",
  "local-address": ".flags without CAPTURE_LOCAL",
  "owner-group": ".flags OWNER_GROUPS_ONLY",
  "proxy-to-self": ".flags EXTERNAL_PROXY",
  "own-traffic": ".proxy_mark, proxy_cgroup",
  dns: ".dns_capture all",
  "passthrough-source": "program connect: source 127.0.0.6 or ::6",
};

const INBOUND: Partial<Record<Reason, string>> = {
  "direction-off": ".flags without INBOUND",
  "all-included": ".flags INBOUND_ALL_PORTS, INBOUND_ALL_SOURCES",
  loopback: "program inbound: the namespace talks to itself",
  "own-traffic": "program inbound: own_flows",
  "hop-left-out": "program inbound: hops",
  "passthrough-source": "program inbound: source 127.0.0.6 or ::6",
};

const EITHER: Partial<Record<Reason, string>> = {
  "family-off": ".flags SKIP_V6",
  "own-listener": ".outbound_port, inbound_port, dns_ports",
};

function wholeWorkload({ direction }: Question, reason: Reason): string {
  const place = (direction === "outbound" ? OUTBOUND : INBOUND)[reason] ?? EITHER[reason];
  return place ?? ": no entry of ports or cidrs";
}
