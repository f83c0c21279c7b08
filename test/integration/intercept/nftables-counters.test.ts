// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import { nftablesBackend } from "../../../src/intercept/nftables/backend.ts";
import { NftablesInterception } from "../../../src/intercept/nftables/interception.ts";
import { NetLab } from "../../support/net-lab.ts";
import { NetnsSockets } from "../../support/netns-sockets.ts";
import { anInbound, anOutbound, aSpec, MARK } from "../../unit/intercept/iptables/iptables-specs.ts";

it("counts every reason, and goes on counting after a change", async (context) => {
  const { ok, reason } = await nftablesBackend.probe();
  context.skip(!ok, reason);
  using lab = new NetLab("nftcount");
  using pod = new NetnsSockets(lab.client.path);
  using world = new NetnsSockets(lab.server.path);
  using netns = new NetworkNamespace(lab.client.path);
  const spec = aSpec({
    target: { kind: "netns", path: lab.client.path },
    outbound: anOutbound(),
    inbound: anInbound(),
  });
  const interception = await NftablesInterception.apply(spec, netns);
  expect(interception.counters()).toEqual({ outbound: {}, inbound: {} });
  await pod.ask(lab.server.v4, 80);
  await pod.ask(lab.server.v6, 80);
  await pod.ask(lab.server.v4, 80, { mark: MARK.value });
  await pod.ask("127.0.0.1", 80);
  await world.ask(lab.client.v4, 15021);
  await interception.update({ ...spec, outbound: anOutbound({ excludePorts: [22] }) });
  await pod.ask(lab.server.v4, 22);
  await world.ask(lab.client.v4, 80);
  await interception.refreshCounters();
  expect(interception.counters()).toEqual({
    outbound: { "all-included": 2, loopback: 1, "own-traffic": 1, "port-excluded": 1 },
    inbound: { "all-included": 1, "port-excluded": 1 },
  });
  await interception.remove();
  expect(await nftablesBackend.findOurs(lab.client.path)).toEqual([]);
});
