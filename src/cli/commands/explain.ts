// SPDX-License-Identifier: Apache-2.0
import type { Explanation } from "../../config/formats/explanation.ts";
import { agentAddress, askAgent } from "../admin-client.ts";
import { EXIT } from "../exit-status.ts";
import type { CliIo } from "../io.ts";
import type { Invocation } from "../parse-arguments.ts";
import { formatTable } from "../table.ts";

export async function runExplain({ options }: Invocation, io: CliIo): Promise<number> {
  const query = new URLSearchParams({
    workload: options.required("--workload"),
    direction: options.required("--direction"),
    address: options.required("--address"),
    port: options.required("--port"),
  });
  const source = options.text("--source");
  if (source !== undefined) query.set("source", source);
  const answer = await askAgent<Explanation>(agentAddress(options), `/explain?${query.toString()}`, io.signal);
  io.stdout.write(options.has("--json") ? `${JSON.stringify(answer, null, 2)}\n` : formatExplanation(answer));
  return EXIT.ok;
}

function formatExplanation({ query, verdict, reason, rule, decidedBy, goesTo }: Explanation): string {
  const address = query.address.includes(":") ? `[${query.address}]` : query.address;
  const from = query.source === undefined ? "" : ` from ${query.source}`;
  return `${query.workload} ${query.direction} ${address}:${query.port}${from}: ${verdict}\n${formatTable(undefined, [
    ["  reason", reason],
    ["  rule", rule],
    ["  decided by", decidedBy],
    ["  goes to", goesTo ?? "nowhere"],
  ])}`;
}
