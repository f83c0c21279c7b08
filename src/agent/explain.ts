// SPDX-License-Identifier: Apache-2.0
import type { ExplainQuery, Explanation } from "../config/formats/explanation.ts";
import type { Interception } from "../intercept/backend.ts";
import { decide, type Question } from "../intercept/decision.ts";
import type { InterceptSpec } from "../intercept/spec.ts";
import { ipFamily } from "../util/ip.ts";

/** What of a workload `explain` needs to know. */
export interface Explained {
  readonly spec: InterceptSpec;
  readonly interception: Pick<Interception, "backend" | "ruleFor">;
  readonly localAddresses: readonly string[];
}

/** Which rule decides about a connection, by the same decision the programs and rules make. */
export function explain({ spec, interception, localAddresses }: Explained, query: ExplainQuery): Explanation {
  const question: Question = {
    direction: query.direction,
    transport: "tcp",
    address: query.address,
    port: query.port,
    ...(query.source === undefined ? {} : { source: query.source }),
    fromProxy: false,
    localAddresses,
  };
  const decision = decide(spec, question);
  const { verdict, reason, rule } = decision;
  const decidedBy = interception.ruleFor?.(spec, question, decision) ?? interception.backend;
  return { query, verdict, reason, rule, decidedBy, goesTo: goesTo(spec, query, decision) };
}

function goesTo(
  spec: InterceptSpec,
  query: ExplainQuery,
  decision: { readonly verdict: string; readonly reason: string },
): string | null {
  const bracket = (address: string): string => (address.includes(":") ? `[${address}]` : address);
  if (decision.verdict === "deny") return null;
  if (decision.verdict === "pass") return `${bracket(query.address)}:${query.port}`;
  const dns = spec.outbound?.dns;
  const dnsPort = dns !== undefined && dns.kind !== "off" ? dns.port : undefined;
  const port =
    decision.reason === "dns" ? dnsPort : query.direction === "outbound" ? spec.outbound?.port : spec.inbound?.port;
  return `${ipFamily(query.address) === 4 ? "127.0.0.1" : "[::1]"}:${port}`;
}
