// SPDX-License-Identifier: Apache-2.0
import { interfacePolicies, interfacesOf, type NetworkInterface } from "./interface-policies.ts";
import { nftablesPolicies, type OwnRules } from "./netfilter-policies.ts";
import type { Policy } from "./policy.ts";

/** What packets of a namespace meet: those that stay in it, and those that come from or go to another one. */
export interface NamespacePolicies {
  readonly inside: readonly Policy[];
  readonly across: readonly Policy[];
}

/** Of a namespace that packets only pass through, with the interfaces that lead to others. */
export interface NodePolicies {
  readonly interfaces: readonly NetworkInterface[];
  readonly netfilter: readonly Policy[];
}

const inNode = ({ kind, where }: Policy): Policy => ({ kind, where: `node: ${where}` });

/** Of the agent's own namespace. `legacy`: what the tables before nf_tables hold. */
export function readNode(own: OwnRules, legacy: readonly Policy[]): NodePolicies {
  return { interfaces: interfacesOf(undefined), netfilter: [...nftablesPolicies(undefined, own), ...legacy] };
}

/** Throws SystemError where something cannot be asked. */
export function readPolicies(
  netns: number | undefined,
  node: NodePolicies,
  own: OwnRules,
  legacy: readonly Policy[],
): NamespacePolicies {
  const interfaces = interfacesOf(netns);
  const [loopback, others] = [interfaces.filter(isLoopback), interfaces.filter((one) => !isLoopback(one))];
  const netfilter = [...nftablesPolicies(netns, own), ...legacy];
  const between = endsIn(node.interfaces, others);
  return {
    inside: [...interfacePolicies(netns, loopback), ...netfilter],
    across: [
      ...interfacePolicies(netns, others),
      ...netfilter,
      ...(between.length === 0 ? [] : [...interfacePolicies(undefined, between), ...node.netfilter].map(inNode)),
    ],
  };
}

function isLoopback({ name }: NetworkInterface): boolean {
  return name === "lo";
}

/** The other ends of a namespace's interfaces, and the bridges they belong to. */
function endsIn(node: readonly NetworkInterface[], interfaces: readonly NetworkInterface[]): NetworkInterface[] {
  const ends = node.filter(({ index, peer }) =>
    interfaces.some((one) => one.peer === index && one.index === peer && peer !== 0),
  );
  const masters = new Set(ends.map(({ master }) => master));
  return [...ends, ...node.filter(({ index }) => masters.has(index))];
}
