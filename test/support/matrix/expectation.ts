// SPDX-License-Identifier: Apache-2.0
/** What should become of a question, from the decision in TypeScript alone. */
import { type Decision, decide, type Question } from "../../../src/intercept/decision.ts";
import type { InterceptSpec } from "../../../src/intercept/spec.ts";
import { localAddresses, podAddress } from "./places.ts";
import { type AskedFamily, type Traffic } from "./traffic.ts";

/** Words of an outcome; see `observed`. */
export const REFUSED = "refused";
export const DIRECT = "direct";

export interface Asked {
  readonly traffic: Traffic;
  readonly family: AskedFamily;
  /** As the client has it, with the interface of a link-local one. */
  readonly address: string;
}

/** The same words as `observed` gives when everything is as it should be. */
export function expected(spec: InterceptSpec, asked: Asked): string {
  const { traffic } = asked;
  if (traffic.transport === "icmp" || traffic.transport === "sctp") return DIRECT;
  const behind = isRerouted(spec, traffic);
  if (traffic.forwarded && !behind) return DIRECT;
  const question = questionOf(asked, behind ? "outbound" : traffic.direction);
  const decision = decide(behind ? asMachine(spec) : spec, question);
  if (decision.verdict === "deny") return REFUSED;
  if (decision.verdict === "pass") return DIRECT;
  if (decision.reason === "dns") return "dns";
  if (isProxyAway(traffic)) return spec.failMode === "deny" ? REFUSED : DIRECT;
  return capturedBy(spec, traffic, decision, question);
}

export function isProxyAway({ pod }: Traffic): boolean {
  return pod === "early" || pod === "ended";
}

function capturedBy(spec: InterceptSpec, traffic: Traffic, decision: Decision, question: Question): string {
  if (question.direction === "inbound" || decision.reason === "proxy-to-self") return inboundWords(spec, traffic);
  if (!traffic.servedByPod) return "outbound";
  // The sidecar calls the pod itself, and comes in by its inbound port when that is captured.
  const address = podAddress(traffic.pod, question.address.includes(".") ? "v4" : "v6");
  const again = decide(spec, { ...question, address, fromProxy: true });
  return again.reason === "proxy-to-self" ? "outbound+inbound" : "outbound";
}

/** A proxy that is not ours speaks for itself, whatever preserveSource says. */
function inboundWords({ inbound, proxy }: InterceptSpec, traffic: Traffic): string {
  return inbound?.preserveMark && !proxy.external && traffic.direction === "inbound" ? "inbound as client" : "inbound";
}

/** Packets of a machine behind the pod have no socket here, and so no owner; the pod's address is none of its own. */
function asMachine(spec: InterceptSpec): InterceptSpec {
  if (!spec.outbound) return spec;
  return {
    ...spec,
    outbound: { ...spec.outbound, captureLocal: true, ownerGroups: { kind: "all-except", groups: [] } },
  };
}

/** Whether the inbound policy captures it once it is taken for something that came to the pod. */
export function wouldEnter(spec: InterceptSpec, asked: Asked): boolean {
  return decide(spec, questionOf(asked, "inbound")).verdict === "redirect";
}

function questionOf({ traffic, address, family }: Asked, direction: Question["direction"]): Question {
  const { transport, port, pod, who, source } = traffic;
  return {
    direction,
    transport: transport.endsWith("udp") ? "udp" : "tcp",
    address: address.replace(/%.*/, ""),
    port,
    ...(source && direction === "inbound" ? { source: source[family === "v6" ? "v6" : "v4"] } : {}),
    fromProxy: traffic.fromProxy === true,
    owner: { uid: who?.uid ?? 0, gid: who?.gid ?? 0 },
    interface: traffic.interface ?? "eth0",
    localAddresses: localAddresses(pod),
  };
}

/** Whether a machine behind the pod is somebody whose traffic the workload's policy is about. */
export function isRerouted(spec: InterceptSpec, { from, interface: name }: Traffic): boolean {
  return from === "machine" && name !== undefined && spec.interfaces.reroute.includes(name);
}
