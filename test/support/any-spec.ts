// SPDX-License-Identifier: Apache-2.0
/** Parts of random specifications, small enough that different ones meet often. */
import fc from "fast-check";
import type { Cidr, CidrSet, DnsCapture, InboundSpec, PortSet } from "../../src/intercept/spec.ts";
import { parseCidr } from "../../src/util/ip.ts";

const RANGES = [
  "10.0.0.0/8",
  "10.1.0.0/16",
  "10.1.2.3/32",
  "0.0.0.0/0",
  "::/0",
  "fd00::/8",
  "fd00:1::/32",
  "2001:db8::1/128",
  "127.0.0.0/8",
];

export const anyCidrs: fc.Arbitrary<Cidr[]> = fc
  .uniqueArray(fc.constantFrom(...RANGES), { maxLength: 4 })
  .map((list) => list.map(parseCidr));
export const anyCidrSet: fc.Arbitrary<CidrSet> = fc.oneof(fc.constant("all" as const), anyCidrs);

export function anyPorts(...of: readonly number[]): fc.Arbitrary<number[]> {
  return fc.uniqueArray(fc.constantFrom(...of), { maxLength: 3 });
}

/** Off, everything, or resolvers that the ranges hold and others. */
export function anyDns(port: number): fc.Arbitrary<DnsCapture> {
  return fc.oneof(
    fc.constant({ kind: "off" as const }),
    fc.constant({ kind: "all" as const, port }),
    fc.constant({ kind: "servers" as const, servers: ["10.1.2.3", "fd00:1::5", "127.5.5.5"], port }),
  );
}

export function anyInbound(port: number, ports: fc.Arbitrary<number[]>): fc.Arbitrary<InboundSpec> {
  const portSet: fc.Arbitrary<PortSet> = fc.oneof(fc.constant("all" as const), ports);
  return fc.record({
    port: fc.constant(port),
    includePorts: portSet,
    excludePorts: ports,
    includeCidrs: anyCidrSet,
    excludeCidrs: anyCidrs,
  });
}
