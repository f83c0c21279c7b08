// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../util/shunt-error.ts";

export type IptablesErrorCode =
  /** The specification asks for something rules of this kind can't do. */
  | "ERR_IPTABLES_UNSUPPORTED"
  /** The namespace has IPv6, but IPv6 rules can't be made. */
  | "ERR_IPTABLES_IPV6_UNAVAILABLE"
  /** No usable iptables on this machine. */
  | "ERR_IPTABLES_UNAVAILABLE"
  /** Rules could not be read, written or taken back. */
  | "ERR_IPTABLES_APPLY"
  /** `ip rule` or `ip route` could not be read, written or taken back. */
  | "ERR_IPTABLES_ROUTING"
  /** Another process of ours kept the namespace locked. */
  | "ERR_IPTABLES_BUSY";

export class IptablesError extends ShuntError<IptablesErrorCode> {}
