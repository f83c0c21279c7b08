// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, it } from "vitest";
import { datagramFd, LOOPBACK, reservePort } from "../../../src/agent/listener-sockets.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { ip, NetLab } from "../../support/net-lab.ts";

const LOWEST = 40_000;
let lab: NetLab;
let netns: NetworkNamespace;
const held: number[] = [];
beforeAll(() => {
  lab = new NetLab("ports");
  netns = new NetworkNamespace(lab.client.path);
  // TCP is given ports of one parity in the lower half as long as there are any; half of those UDP has taken.
  const file = "/proc/sys/net/ipv4/ip_local_port_range";
  ip("netns", "exec", lab.client.netns, "sh", "-c", `echo ${LOWEST} ${LOWEST + 15} > ${file}`);
  for (let port = LOWEST; port < LOWEST + 4; port++) held.push(datagramFd(netns, "::1", port));
});
afterAll(() => {
  for (const fd of held) loadAddon().closeFd(fd);
  netns?.[Symbol.dispose]();
  lab[Symbol.dispose]();
});

it("a free port for TCP and UDP is free for both, in both families", () => {
  for (let round = 0; round < 10; round++) {
    const port = reservePort(netns, 0, LOOPBACK, ["stream", "dgram"]);
    expect(port).toBeGreaterThanOrEqual(LOWEST + 4);
    for (const { address } of LOOPBACK) loadAddon().closeFd(datagramFd(netns, address, port));
  }
});

it("a given port that UDP has taken is refused by address and port, for TCP alone it is free", () => {
  expect(reservePort(netns, LOWEST, LOOPBACK)).toBe(LOWEST);
  expect(() => reservePort(netns, LOWEST, LOOPBACK, ["stream", "dgram"])).toThrow(
    new RegExp(`bind.*::1 port ${LOWEST} .*EADDRINUSE|EADDRINUSE.*::1 port ${LOWEST}`),
  );
});
