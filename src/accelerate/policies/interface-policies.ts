// SPDX-License-Identifier: Apache-2.0
/** XDP and tc on the interfaces of a network namespace. */
import { AttachType } from "../../bpf/attach-type.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { attributesOf, dumpNetlink, textOf } from "./netlink-dump.ts";
import type { Policy } from "./policy.ts";

// <linux/rtnetlink.h>, <linux/if_link.h>, <linux/pkt_sched.h>
const NETLINK_ROUTE = 0;
const RTM_GETLINK = 18;
const RTM_GETQDISC = 38;
const RTM_GETTFILTER = 46;
const IFINFOMSG = 16;
const IFLA_IFNAME = 3;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_XDP = 43;
const IFLA_XDP_ATTACHED = 2;
const TCMSG = 20;
const TCA_KIND = 1;
const TCA_INGRESS_BLOCK = 13;
const TCA_EGRESS_BLOCK = 14;
const TC_INGRESS = 0xffff_fff2;
const TC_EGRESS = 0xffff_fff3;

/** Queues that neither drop by rule nor hold back to a rate. */
const PLAIN_QUEUES = new Set(["noop", "noqueue", "pfifo_fast", "pfifo", "bfifo", "fq", "fq_codel", "mq", "sfq"]);

const TCX: readonly (readonly [string, number])[] = [
  ["tcx ingress", AttachType.TcxIngress],
  ["tcx egress", AttachType.TcxEgress],
  ["netkit", AttachType.NetkitPrimary],
  ["netkit peer", AttachType.NetkitPeer],
];

export interface NetworkInterface {
  readonly name: string;
  readonly index: number;
  /** Index of its other end, in that one's namespace; 0 where it has none. */
  readonly peer: number;
  /** Index of the bridge or bond it belongs to; 0 for none. */
  readonly master: number;
  readonly hasXdp: boolean;
}

export function interfacesOf(netns: number | undefined): NetworkInterface[] {
  return dumpNetlink(netns, NETLINK_ROUTE, RTM_GETLINK, Buffer.alloc(IFINFOMSG)).map(({ body }) => {
    const attributes = attributesOf(body.subarray(IFINFOMSG));
    const xdp = attributesOf(attributes.get(IFLA_XDP) ?? Buffer.alloc(0));
    return {
      name: textOf(attributes.get(IFLA_IFNAME)),
      index: body.readInt32LE(4),
      peer: attributes.get(IFLA_LINK)?.readUInt32LE() ?? 0,
      master: attributes.get(IFLA_MASTER)?.readUInt32LE() ?? 0,
      hasXdp: (xdp.get(IFLA_XDP_ATTACHED)?.[0] ?? 0) !== 0,
    };
  });
}

/** What packets meet on these interfaces. */
export function interfacePolicies(netns: number | undefined, interfaces: readonly NetworkInterface[]): Policy[] {
  const queues = dumpNetlink(netns, NETLINK_ROUTE, RTM_GETQDISC, Buffer.alloc(TCMSG)).map(({ body }) => ({
    index: body.readInt32LE(4),
    handle: body.readUInt32LE(8),
    attributes: attributesOf(body.subarray(TCMSG)),
  }));
  return interfaces.flatMap(({ name, index, hasXdp }): Policy[] => [
    ...(hasXdp ? [{ kind: "xdp" as const, where: name }] : []),
    ...TCX.filter(([, type]) => hasPrograms(netns, index, type)).map(
      ([hook]): Policy => ({ kind: "tc", where: `${name} ${hook}` }),
    ),
    ...queues
      .filter((queue) => queue.index === index)
      .filter(({ handle, attributes }) => decides(netns, index, handle, attributes))
      .map(({ attributes }): Policy => ({ kind: "tc", where: `${name} ${textOf(attributes.get(TCA_KIND))}` })),
  ]);
}

/** Types that the kernel or the interface lacks have none. */
function hasPrograms(netns: number | undefined, index: number, type: number): boolean {
  const found = loadAddon().queryPrograms(index, type, 0, netns);
  return typeof found !== "number" && found.ids.length > 0;
}

function decides(netns: number | undefined, index: number, handle: number, attributes: ReadonlyMap<number, Buffer>) {
  const kind = textOf(attributes.get(TCA_KIND));
  if (attributes.has(TCA_INGRESS_BLOCK) || attributes.has(TCA_EGRESS_BLOCK)) return true;
  if (kind === "clsact") return [TC_INGRESS, TC_EGRESS].some((parent) => hasFilters(netns, index, parent));
  if (kind === "ingress") return hasFilters(netns, index, handle) || hasFilters(netns, index, TC_INGRESS);
  return !PLAIN_QUEUES.has(kind) || hasFilters(netns, index, handle);
}

function hasFilters(netns: number | undefined, index: number, parent: number): boolean {
  // The root queue of many interfaces has no handle, and takes no filters.
  if (parent === 0) return false;
  const asked = Buffer.alloc(TCMSG);
  asked.writeInt32LE(index, 4);
  asked.writeUInt32LE(parent, 12);
  try {
    return dumpNetlink(netns, NETLINK_ROUTE, RTM_GETTFILTER, asked).length > 0;
  } catch {
    // The queue is gone, or is none that takes filters.
    return false;
  }
}
