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
  for (const name of ["source", "uid", "gid", "mark", "interface"]) {
    const given = options.text(`--${name}`);
    if (given !== undefined) query.set(name, given);
  }
  if (options.has("--udp")) query.set("transport", "udp");
  const answer = await askAgent<Explanation>(agentAddress(options), `/explain?${query.toString()}`, io.signal);
  io.stdout.write(options.has("--json") ? `${JSON.stringify(answer, null, 2)}\n` : formatExplanation(answer));
  return EXIT.ok;
}

function formatExplanation({ query, verdict, reason, rule, decidedBy, goesTo }: Explanation): string {
  const address = query.address.includes(":") ? `[${query.address}]` : query.address;
  const transport = query.transport === "udp" ? " udp" : "";
  const by = (["uid", "gid", "mark", "interface"] as const)
    .filter((name) => query[name] !== undefined)
    .map((name) => ` ${name} ${query[name]}`)
    .join("");
  const from = query.source === undefined ? "" : ` from ${query.source}`;
  return `${query.workload} ${query.direction}${transport} ${address}:${query.port}${from}${by}: ${verdict}\n${formatTable(
    undefined,
    [
      ["  reason", reason],
      ["  rule", rule],
      ["  decided by", decidedBy],
      ["  goes to", goesTo ?? "nowhere"],
    ],
  )}`;
}
