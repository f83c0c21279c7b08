// SPDX-License-Identifier: Apache-2.0
/** Netfilter rules of others that may drop, in nf_tables (iptables-nft too) and in the tables before it. */
import { constants } from "node:os";
import { SystemError } from "../../native/status.ts";
import { attributesOf, dumpNetlink, type NetlinkMessage, textAttribute, textOf } from "./netlink-dump.ts";
import type { Policy } from "./policy.ts";

// <linux/netfilter/nf_tables.h>, <linux/netfilter/nfnetlink.h>
const NETLINK_NETFILTER = 12;
const NFT_MSG_GETCHAIN = (10 << 8) | 4;
const NFT_MSG_GETRULE = (10 << 8) | 7;
const NFGENMSG = 4;
const CHAIN = { table: 1, name: 3, hook: 4, policy: 5, type: 7 } as const;
const RULE = { table: 1, chain: 2 } as const;
const NF_DROP = 0;

/** Types of chains whose rules decide whether a packet goes on; "nat" only says where to. */
const DECIDING = new Set(["filter", "route"]);
const FAMILIES: ReadonlyMap<number, string> = new Map([
  [1, "inet"],
  [2, "ip"],
  [5, "netdev"],
  [7, "bridge"],
  [10, "ip6"],
]);

/** What tells our own tables and jumps from everybody else's. */
export interface OwnRules {
  readonly table: string;
  readonly chainPrefix: string;
}

/** Throws SystemError where it cannot be asked. */
export function nftablesPolicies(netns: number | undefined, own: OwnRules): Policy[] {
  return dump(netns, NFT_MSG_GETCHAIN, Buffer.alloc(NFGENMSG)).flatMap(({ body }): Policy[] => {
    const family = FAMILIES.get(body[0] ?? 0);
    const chain = attributesOf(body.subarray(NFGENMSG));
    const table = textOf(chain.get(CHAIN.table));
    const name = textOf(chain.get(CHAIN.name));
    if (family === undefined || table === own.table || !chain.has(CHAIN.hook)) return [];
    if (!DECIDING.has(textOf(chain.get(CHAIN.type)))) return [];
    const drops = chain.get(CHAIN.policy)?.readUInt32BE() === NF_DROP;
    if (!drops && !hasRules(netns, body[0] ?? 0, table, name, own)) return [];
    return [{ kind: "netfilter", where: `table ${family} ${table}, chain ${name}` }];
  });
}

function hasRules(netns: number | undefined, family: number, table: string, chain: string, own: OwnRules): boolean {
  const header = Buffer.from([family, 0, 0, 0]);
  const asked = Buffer.concat([header, textAttribute(RULE.table, table), textAttribute(RULE.chain, chain)]);
  // A jump names its chain in the middle of its expressions.
  return dump(netns, NFT_MSG_GETRULE, asked).some(({ body }) => !body.includes(own.chainPrefix, 0, "latin1"));
}

const NOT_THERE = new Set([constants.errno.EPROTONOSUPPORT, constants.errno.EOPNOTSUPP, constants.errno.EINVAL]);

function dump(netns: number | undefined, type: number, body: Buffer): readonly NetlinkMessage[] {
  try {
    return dumpNetlink(netns, NETLINK_NETFILTER, type, body);
  } catch (error) {
    // A kernel without nf_tables has no rules.
    if (error instanceof SystemError && NOT_THERE.has(error.errno)) return [];
    // The chain is gone.
    if (error instanceof SystemError && error.errno === constants.errno.ENOENT) return [];
    throw error;
  }
}

/** Tables of /proc/net/ip_tables_names that can drop. */
const LEGACY = new Set(["filter", "mangle", "raw", "security"]);

/** Whether the tables that were before nf_tables could have rules that drop. `names`: ip_tables_names and ip6_tables_names. */
export function hasLegacyTables(names: string): boolean {
  return names.split("\n").some((name) => LEGACY.has(name));
}

/** Rules and policies that drop, of `iptables-legacy-save` or `ip6tables-legacy-save`. Pure. */
export function legacyPolicies(saved: string, family: "ip" | "ip6", own: OwnRules): Policy[] {
  const found = new Map<string, Policy>();
  let table = "";
  for (const line of saved.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1);
    if (!LEGACY.has(table) || line.includes(own.chainPrefix)) continue;
    const chain = /^(?:-A (\S+) |:(\S+) (?!ACCEPT|-))/.exec(line);
    if (!chain) continue;
    const where = `table ${family} ${table} (legacy), chain ${chain[1] ?? chain[2]}`;
    found.set(where, { kind: "netfilter", where });
  }
  return [...found.values()];
}
