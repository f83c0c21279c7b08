// SPDX-License-Identifier: Apache-2.0
/** Our own proxy, with one agent for both hops. */
import type { Belongings } from "./belongings.ts";
import type { Hops } from "./hops.ts";
import { makeCgroup, type Place } from "./place.ts";
import type { Processes } from "./processes.ts";
import type { Route } from "./scenario.ts";
import { ShuntAgent } from "./shunt-agent.ts";

type Fields = Readonly<Record<string, unknown>>;

const OFF = { enabled: false };
const LOCAL = { captureLocal: true };

/** Of the second of two proxies that are both on the way out: the first one's mark must not let it pass. */
const SECOND_MARK = 0x53a;

export async function startShunt(
  processes: Processes,
  route: Route,
  place: Place,
  folder: string,
  own: Belongings,
): Promise<Hops> {
  const rules = route.path === "iptables" || route.path === "nftables";
  const chained = rules && place.topology === "loopback" && route.proxies === 2;
  const cgroups = chained
    ? { client: makeCgroup(`${place.name}-app`, own), agent: makeCgroup(`${place.name}-proxy`, own) }
    : undefined;
  const workloads = cgroups === undefined ? workloadsOf(route, place) : chainedWorkloads(place, cgroups);
  const file = { ...steering(route), workloads };
  const settings = { name: place.name, folder, file, ...(cgroups === undefined ? {} : { cgroup: cgroups.agent }) };
  const agent = own.use(await ShuntAgent.start(processes, settings));
  return {
    passed: () => agent.passages(),
    agent,
    ...(cgroups === undefined ? {} : { clientCgroup: cgroups.client }),
  };
}

/** The fields of the whole file that make the path what its name says. */
export function steering({ path }: Pick<Route, "path">): Fields {
  if (path === "ebpf-accelerated") return { mode: "ebpf", acceleration: { mode: "auto", paths: ["leg"] } };
  if (path === "ebpf-spliced") return { mode: "ebpf", acceleration: { mode: "auto", hops: "one" } };
  return { mode: path };
}

/** Out of the client's namespace and into the server's, which may be one. */
function workloadsOf({ path, proxies }: Route, { topology, client, server }: Place): readonly Fields[] {
  if (topology === "loopback")
    return [{ name: "both", netns: client, outbound: LOCAL, ...(proxies === 2 ? {} : { inbound: OFF }) }];
  const first = { name: "client", netns: client, inbound: OFF };
  const second = { name: "server", netns: server, outbound: OFF };
  if (proxies === 2) return [first, second];
  // Only what arrives can be handed over by TPROXY.
  return [path === "tproxy" ? second : first];
}

/**
 * NAT translates a connection of the namespace with itself once, when it leaves: the second proxy takes it from the
 * first one on the way out.
 */
function chainedWorkloads(
  { client }: Place,
  cgroups: { readonly client: string; readonly agent: string },
): readonly Fields[] {
  const common = { netns: client, inbound: OFF };
  return [
    { ...common, name: "first", cgroup: cgroups.client, outbound: LOCAL },
    {
      ...common,
      name: "second",
      cgroup: cgroups.agent,
      outbound: { ...LOCAL, port: 15_011 },
      proxy: { mark: SECOND_MARK },
    },
  ];
}
