// SPDX-License-Identifier: Apache-2.0
/** How our rules are told from everybody else's: chains SHUNT_*, comments shunt:NAME. */
import { createHash } from "node:crypto";
import { IptablesError } from "./iptables-error.ts";

export const CHAIN_PREFIX = "SHUNT_";
/** Comment on the jumps from built-in chains, which belong to no single workload. */
export const JUMP_COMMENT = "shunt";

/** Built-in chains that lead to ours. */
export const HOOKS = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT"] as const;
export type Hook = (typeof HOOKS)[number];
export type ChainRole =
  | "OUT"
  | "OUT_REDIR"
  | "REROUTE"
  | "IN"
  | "IN_REDIR"
  | "IN_TPROXY"
  | "DIVERT"
  | "REENTER"
  | "DNS"
  | "INVALID"
  | "GUARD_OUT"
  | "GUARD_IN"
  | "GUARD_FWD"
  | "GUARD_DROP";

/** xt_comment holds 256 bytes with the final zero (include/uapi/linux/netfilter/xt_comment.h). */
const MAX_COMMENT_BYTES = 255;

/** Eight hexadecimal digits: chain names hold 28 characters (XT_EXTENSION_MAXNAMELEN), a workload's name may be longer. */
export function shortId(name: string): string {
  return createHash("sha256").update(name).digest("hex").slice(0, 8);
}

export function workloadChain(name: string, role: ChainRole): string {
  return `${CHAIN_PREFIX}${shortId(name)}_${role}`;
}

/** The chain that leads a packet to the workload it belongs to, innermost first. */
export function dispatchChain(hook: Hook): string {
  return `${CHAIN_PREFIX}${hook}`;
}

export function isDispatchChain(chain: string): boolean {
  return HOOKS.some((hook) => chain === dispatchChain(hook));
}

/** Percent-encoded, so that no quoting of iptables-save or -restore can change it. */
export function commentOf(name: string): string {
  const encoded = [...Buffer.from(name)]
    .map((byte) => {
      const char = String.fromCharCode(byte);
      return /[\w./@:-]/.test(char) ? char : `%${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
  const comment = `${JUMP_COMMENT}:${encoded}`;
  if (comment.length > MAX_COMMENT_BYTES) {
    throw new IptablesError(
      "ERR_IPTABLES_UNSUPPORTED",
      `name ${JSON.stringify(name)} is too long for a rule's comment`,
    );
  }
  return comment;
}

/** The workload a line of iptables-save belongs to; undefined for jumps and rules of others. */
export function ownerOf(line: string): string | undefined {
  const encoded = / --comment "?shunt:([^\s"]+)"?/.exec(line)?.[1];
  if (encoded === undefined) return undefined;
  try {
    return decodeURIComponent(encoded);
  } catch {
    // Not written by us, but under our mark: it keeps its raw form, so that `clean` can still name it.
    return encoded;
  }
}
