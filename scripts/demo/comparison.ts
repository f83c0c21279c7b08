// SPDX-License-Identifier: Apache-2.0
import { CONNECTIONS, type Load, loads, measure, type Sample } from "./measure.ts";
import type { Processes } from "./processes.ts";
import { interleave, type Samples } from "./rounds.ts";
import { phase, progress, say } from "./terminal.ts";
import type { Way, WayName, Ways } from "./way.ts";

export const TITLES: Readonly<Record<WayName, string>> = { direct: "direct", ebpf: "eBPF", iptables: "iptables" };

/** One measurement with each load. */
export interface Measured {
  readonly kept: Sample;
  readonly fresh: Sample;
}

/** The second part: the same load on every way, in rounds. */
export async function compare(processes: Processes, ways: Ways, quick: boolean): Promise<Samples<Measured>> {
  const rounds = quick ? 1 : 5;
  const load = loads(quick);
  const names = ways.all.map((way) => way.name);
  const one = async (way: Way, { kept, fresh }: { kept: Load; fresh: Load }): Promise<Measured> => ({
    kept: await measure(processes, way.pair, kept),
    fresh: await measure(processes, way.pair, fresh),
  });
  phase("warming up; this is not counted");
  for (const way of ways.all) await one(way, loads(true));
  return interleave(
    names,
    rounds,
    (name, round) => {
      progress(`  round ${round + 1} of ${rounds}: ${TITLES[name as WayName]}`);
      return one(ways.of(name as WayName), load);
    },
    (round, samples) => {
      const rates = names.map((name) => `${TITLES[name]} ${count(samples.get(name)?.kept.rate)}`);
      say(`  round ${round + 1} of ${rounds}: ${rates.join(", ")} requests per second`);
    },
  );
}

export function describeLoads(quick: boolean): readonly string[] {
  const { kept, fresh } = loads(quick);
  return [
    `shunt-load in red asks shunt-echo in blue, both written in C, with ${CONNECTIONS} connections at a time.`,
    `Two loads: ${kept.title}, and ${fresh.title}.`,
    "direct: without Shunt. eBPF, iptables: every byte passes the proxy twice, outbound in red and inbound in blue, so the",
    "difference to direct is that of two proxies, and the difference of the two is that of the ways to intercept.",
    "They take turns within each round; ratios are taken within a round.",
  ];
}

/** A number as people read it. */
export function count(value: number | undefined): string {
  return Math.round(value ?? Number.NaN).toLocaleString("en-US");
}
