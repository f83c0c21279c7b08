// SPDX-License-Identifier: Apache-2.0
/** The least iptables rules that lead to another proxy: every one more would be to its disadvantage. */
import { SERVER_ADDRESS } from "./place.ts";
import type { Processes } from "./processes.ts";

export interface Redirection {
  readonly chain: "OUTPUT" | "PREROUTING";
  /** Whose connections are taken; absent: everybody's but those that `except` names. */
  readonly user?: number;
  readonly except?: readonly number[];
  /** Destination ports and where each goes. */
  readonly ports: readonly (readonly [number, number])[];
}

export function rulesText(redirections: readonly Redirection[]): string {
  const lines = redirections.flatMap(({ chain, user, except = [], ports }) => {
    const owner = user === undefined ? [] : [`-m owner --uid-owner ${user}`];
    const others = except.map((id) => `-m owner ! --uid-owner ${id}`);
    const match = [`-A ${chain} -p tcp -d ${SERVER_ADDRESS}`, ...owner, ...others].join(" ");
    return ports.map(([from, to]) => `${match} -m tcp --dport ${from} -j REDIRECT --to-ports ${to}`);
  });
  return `*nat\n${lines.join("\n")}\nCOMMIT\n`;
}

export async function applyRules(
  processes: Processes,
  netns: string,
  redirections: readonly Redirection[],
): Promise<void> {
  await processes.step(["iptables-restore", "--noflush"], { netns, input: rulesText(redirections) });
}

/** Connections that the rules have redirected: NAT sees the first packet of each. */
export async function redirected(processes: Processes, netns: string): Promise<number> {
  return countRedirected(await processes.step(["iptables-save", "-c", "-t", "nat"], { netns }));
}

export function countRedirected(saved: string): number {
  const counts = [...saved.matchAll(/^\[(\d+):\d+\] .* -j REDIRECT /gm)].map(([, packets]) => Number(packets));
  return counts.reduce((sum, count) => sum + count, 0);
}
