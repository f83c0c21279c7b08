// SPDX-License-Identifier: Apache-2.0
import type { ExplainQuery, Explanation } from "../config/formats/explanation.ts";
import type { Interception } from "../intercept/backend.ts";
import { decide, type Question } from "../intercept/decision.ts";
import { portFor } from "../intercept/dns-ports.ts";
import { interfaceTo, type Route } from "../intercept/routes.ts";
import type { InterceptSpec } from "../intercept/spec.ts";
import { isLoopback } from "../intercept/special-address.ts";
import { ipFamily } from "../util/ip.ts";

/** What of a workload `explain` needs to know. */
export interface Explained {
  readonly spec: InterceptSpec;
  readonly interception: Pick<Interception, "backend" | "ruleFor">;
  readonly localAddresses: readonly string[];
  /** Of its namespace; asked only where it matters. */
  readonly routes: () => readonly Route[];
}

/** The id that no process has (setuid(2)): no list names it. */
const NOBODY = 0xffff_ffff;

/** Which rule decides about a connection, by the same decision the programs and rules make. */
export function explain(explained: Explained, asked: ExplainQuery): Explanation {
  const { spec, interception, localAddresses } = explained;
  const query = { ...asked, ...leavingBy(explained, asked) };
  const { workload: _workload, uid, gid, ...rest } = query;
  const question: Question = {
    ...rest,
    fromProxy: hasProxyMark(spec, query.mark ?? 0),
    ...(uid === undefined && gid === undefined ? {} : { owner: { uid: uid ?? NOBODY, gid: gid ?? NOBODY } }),
    localAddresses,
  };
  const decision = decide(spec, question);
  const { verdict, reason, rule } = decision;
  const decidedBy = interception.ruleFor?.(spec, question, decision) ?? interception.backend;
  return {
    query,
    verdict,
    reason,
    rule,
    decidedBy,
    goesTo: goesTo(spec, query, decision, dnsPort(spec, query, interception.backend)),
  };
}

/** Where no interface is asked about, a connection leaves by the one that the route names, as the programs know it. */
function leavingBy({ spec, localAddresses, routes }: Explained, query: ExplainQuery): Pick<ExplainQuery, "interface"> {
  const isGiven = query.interface !== undefined || query.direction === "inbound";
  const isLocal = isLoopback(query.address) || localAddresses.includes(query.address);
  if (isGiven || isLocal || spec.interfaces.exclude.length === 0) return {};
  const name = interfaceTo(query.address, routes());
  return name === undefined ? {} : { interface: name };
}

function hasProxyMark({ proxy: { mark } }: InterceptSpec, asked: number): boolean {
  return mark !== undefined && (asked & mark.mask) >>> 0 === mark.value >>> 0;
}

/** eBPF gives a datagram one of several ports, socket by socket; the first of them is said here. */
function dnsPort(
  { outbound }: InterceptSpec,
  { transport, address }: ExplainQuery,
  backend: string,
): number | undefined {
  const dns = outbound?.dns;
  if (dns === undefined || dns.kind === "off") return undefined;
  return transport === "udp" && backend !== "ebpf" ? portFor(dns, address) : dns.port;
}

function goesTo(
  spec: InterceptSpec,
  query: ExplainQuery,
  decision: { readonly verdict: string; readonly reason: string },
  dnsPort: number | undefined,
): string | null {
  const bracket = (address: string): string => (address.includes(":") ? `[${address}]` : address);
  if (decision.verdict === "deny") return null;
  if (decision.verdict === "pass") return `${bracket(query.address)}:${query.port}`;
  const inbound = query.direction === "inbound" || decision.reason === "proxy-to-self";
  const port = decision.reason === "dns" ? dnsPort : inbound ? spec.inbound?.port : spec.outbound?.port;
  return `${ipFamily(query.address) === 4 ? "127.0.0.1" : "[::1]"}:${port}`;
}
