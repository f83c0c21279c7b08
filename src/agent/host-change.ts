// SPDX-License-Identifier: Apache-2.0
/** Something added to the machine beside programs and rules, which must be taken away again. */
export interface HostChange {
  readonly kind: "ip-rule" | "route" | "address" | "sysctl";
  readonly family: "ipv4" | "ipv6";
  /** As the tool that lists it would show it. */
  readonly description: string;
  remove(): Promise<void>;
}
