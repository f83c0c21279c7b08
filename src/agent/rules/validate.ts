// SPDX-License-Identifier: Apache-2.0
import type { ConnectionReport, RulesBackendName } from "../../config/formats/rules.ts";
import { ListeningSockets } from "../../intercept/listening-sockets.ts";
import { NetworkNamespace } from "../../intercept/network-namespace.ts";
import { readRoutes } from "../../intercept/routes.ts";
import type { InterceptSpec } from "../../intercept/spec.ts";
import { selfConnect } from "../../intercept/validate/self-connect.ts";
import { netnsPathOf } from "./netns-path.ts";
import { type DirectionProbes, validationProbes } from "./validation-probes.ts";

export interface Validation {
  readonly connections: readonly ConnectionReport[];
  readonly untested: readonly string[];
}

/** As istio-iptables' PROBE_TIMEOUT. */
const TIMEOUT_MS = 5_000;

/** Makes the connections that must be intercepted, from inside the namespace; see validationProbes. */
export async function validate(
  spec: InterceptSpec,
  backend: RulesBackendName,
  signal: AbortSignal,
): Promise<Validation> {
  using netns = new NetworkNamespace(netnsPathOf(spec));
  const routes = readRoutes(netns).map(({ destination }) => destination);
  const { tests, untested } = validationProbes(spec, { addresses: netns.localAddresses(), routes });
  const connections: ConnectionReport[] = [];
  const skipped: string[] = [...untested];
  for (const test of tests) {
    if (test.direction === "inbound" && needsProxy(backend) && !isListening(netns, spec.inbound?.port)) {
      skipped.push(
        `inbound: nobody listens on port ${spec.inbound?.port}, and ${backend} hands connections to the proxy's own sockets`,
      );
    } else connections.push(...(await connect(spec, netns, test, signal)));
  }
  return { connections, untested: skipped };
}

/** sk_lookup and TPROXY find sockets, not ports: a listener of ours would not be one that they give connections to. */
function needsProxy(backend: RulesBackendName): boolean {
  return backend === "ebpf" || backend === "tproxy";
}

function isListening(netns: NetworkNamespace, port: number | undefined): boolean {
  using sockets = new ListeningSockets(netns);
  return port !== undefined && sockets.onPort(port).length > 0;
}

async function connect(
  spec: InterceptSpec,
  netns: NetworkNamespace,
  { direction, identity, probes }: DirectionProbes,
  signal: AbortSignal,
): Promise<ConnectionReport[]> {
  const port = direction === "outbound" ? spec.outbound?.port : spec.inbound?.port;
  const results = await selfConnect({
    netns: { path: netns.currentPath, fd: netns.fd },
    probes,
    ports: port === undefined ? [] : [port],
    identity,
    timeoutMs: TIMEOUT_MS,
    signal,
  });
  return results.map(({ family, ok, port: arrived, reason }, i) => ({
    direction,
    family,
    to: `${probes[i]?.address} port ${probes[i]?.port}`,
    ok,
    ...(arrived === undefined ? {} : { port: arrived }),
    ...(reason === undefined ? {} : { reason }),
  }));
}
