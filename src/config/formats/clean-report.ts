// SPDX-License-Identifier: Apache-2.0
/** What `shunt clean` did. */
export interface CleanItem {
  /** `pin`, `link`, `iptables`, `ip-rule`, `route`, `address`, `cgroup`, `socket`, … */
  readonly kind: string;
  /** Path, rule or address, as the tool that lists it would show it. */
  readonly name: string;
}

export interface CleanReport {
  readonly removed: readonly CleanItem[];
  /** Still there, and why. */
  readonly failed: readonly (CleanItem & { readonly reason: string })[];
}
