// SPDX-License-Identifier: Apache-2.0
/** Names of network interfaces as rules have them: a `+` at the end stands for any ending (iptables(8), --in-interface). */
export function matchesInterface(pattern: string, name: string): boolean {
  return pattern.endsWith("+") ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}
