// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from "node:http";
import type { Flow, FlowLine } from "../config/formats/flow.ts";
import type { AdminSource } from "./admin-source.ts";

/**
 * Answers with JSON lines: first the connections there are, then each that begins or ends. A reader too
 * slow for them is told how many it misses; nothing is kept for it beyond Node's own buffer.
 */
export async function streamFlows(
  source: AdminSource,
  response: ServerResponse,
  wanted: (flow: Flow) => boolean,
): Promise<void> {
  response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
  response.flushHeaders();
  let full = false;
  let lost = 0;
  const write = (line: FlowLine): void => {
    full = !response.write(`${JSON.stringify(line)}\n`);
  };
  const offer = (flow: Flow): void => {
    if (!wanted(flow)) return;
    if (full) lost++;
    else write(flow);
  };
  response.on("drain", () => {
    full = false;
    if (lost === 0) return;
    const count = lost;
    lost = 0;
    write({ lost: count });
  });
  // Followed before the list is taken, held until it is written: nothing falls between the two.
  let held: Flow[] | undefined = [];
  const unfollow = source.follow((flow) => (held === undefined ? offer(flow) : void held.push(flow)));
  response.once("close", unfollow);
  // The list is wanted whole, however slowly it is read.
  for (const flow of await source.flows()) if (wanted(flow)) write(flow);
  const waiting = held;
  held = undefined;
  for (const flow of waiting) offer(flow);
}
