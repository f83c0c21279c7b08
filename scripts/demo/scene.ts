// SPDX-License-Identifier: Apache-2.0
import type { ConnectionRecord } from "../../src/proxy/connection-record.ts";
import type { Agent } from "./agent.ts";
import { converse, type Exchange } from "./conversation.ts";
import { DemoFailure } from "./failure.ts";
import { countDirections, destinationsSeen, differences } from "./intercepted.ts";
import type { Processes } from "./processes.ts";
import { listRules, type RuleListing } from "./rules.ts";
import { paint, progress, say, table } from "./terminal.ts";
import type { Way } from "./way.ts";

/** The first part of a mode: programs talk through the proxy, and what was intercepted is shown. */
export async function showScene(
  processes: Processes,
  way: Way,
  agent: Agent,
  signal: AbortSignal,
): Promise<readonly RuleListing[]> {
  const exchanges: Exchange[] = [];
  for await (const exchange of converse(processes, way.pair)) {
    exchanges.push(exchange);
    progress(`  ${exchange.client} in ${exchange.from} has talked to ${exchange.server}`);
  }
  showExchanges(exchanges, way);
  showDestinations(await recordsOf(agent, exchanges.length, signal), exchanges);
  const rules = await listRules(processes, way.pair);
  showRules(rules);
  return rules;
}

function showExchanges(exchanges: readonly Exchange[], { servers }: Way): void {
  const rows = exchanges.map(({ client, from, to, server, serverName, httpStatus, peer }) => {
    return [`${client} in ${from}`, `${serverName} in ${to}`, server, `HTTP ${httpStatus}`, peer];
  });
  const head = ["CLIENT", "SERVER", "CONNECTS TO", "ANSWER", "PEER THE CLIENT SEES"];
  for (const line of table([head, ...rows])) say(line);
  const seen = servers.clientsSeen.join(" and ");
  say(`  The servers' logs name ${seen} as clients: the proxy connects from there, as Istio's does.`);
  say();
}

/** Every exchange is one connection outbound in one namespace and inbound in the other; a record comes at its end. */
async function recordsOf(agent: Agent, exchanges: number, signal: AbortSignal): Promise<readonly ConnectionRecord[]> {
  const deadline = AbortSignal.timeout(5000);
  for (;;) {
    signal.throwIfAborted();
    const records = agent.records();
    if (records.length >= 2 * exchanges || deadline.aborted) return records;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function showDestinations(records: readonly ConnectionRecord[], exchanges: readonly Exchange[]): void {
  const { outbound, inbound } = countDirections(records);
  const seen = destinationsSeen(records);
  const rows = seen.map((entry) => [entry.destination, `${entry.outbound}`, `${entry.inbound}`]);
  for (const line of table([["ORIGINAL DESTINATION", "OUTBOUND", "INBOUND"], ...rows], 1)) say(line);
  say(`  Connections intercepted: ${outbound} outbound, ${inbound} inbound.`);
  const wrong = differences(
    seen,
    exchanges.map(({ server }) => server),
  );
  if (wrong.length > 0) throw new DemoFailure(`The proxy saw other destinations than meant: ${wrong.join("; ")}.`);
  say("  Every original destination is the address of a server above, and every server was seen in both directions.");
  say();
}

function showRules(listings: readonly RuleListing[]): void {
  say("  Rules in the namespaces, as the tools list them:");
  for (const { color, tool, output, rules } of listings) {
    say(`    ${color.padEnd(4)}  ${tool.padEnd(16)}  ${output === "" ? "(prints nothing)" : `${rules} rules`}`);
  }
  const shown = listings.find(({ rules }) => rules > 0);
  if (shown !== undefined) {
    say(`  ${shown.tool} in ${shown.color}, in full:`);
    for (const line of shown.output.split("\n")) say(paint("dim", `    ${line}`));
  }
  say();
}
