// SPDX-License-Identifier: Apache-2.0
import type { Flow, FlowLine } from "../../config/formats/flow.ts";
import { formatDuration } from "../../util/duration.ts";
import { type AgentAddress, agentAddress, askAgent, followAgent } from "../admin-client.ts";
import { EXIT } from "../exit-status.ts";
import { FlowTable, wayOf } from "../flow-table.ts";
import type { CliIo } from "../io.ts";
import type { Invocation } from "../parse-arguments.ts";

const REDRAW_MS = 1000;
/** Cursor home, and everything below it cleared: no flicker of an empty screen. */
const REDRAW = "\u001b[H\u001b[J";
const CLEAR = "\u001b[2J";

export async function runFlows({ options }: Invocation, io: CliIo): Promise<number> {
  const agent = agentAddress(options);
  const workload = options.text("--workload");
  const query = new URLSearchParams(workload === undefined ? {} : { workload });
  const format = options.has("--json") ? jsonLine : textLine;
  if (options.has("--once")) {
    const flows = await askAgent<Flow[]>(agent, `/flows?${query.toString()}`, io.signal);
    io.stdout.write(format === jsonLine ? flows.map(jsonLine).join("") : tableOf(flows));
    return EXIT.ok;
  }
  query.set("follow", "1");
  const path = `/flows?${query.toString()}`;
  if (io.stdout.isTTY === true && format === textLine) return drawTable(agent, path, io);
  for await (const line of followAgent<FlowLine>(agent, path, io.signal)) io.stdout.write(format(line));
  return EXIT.ok;
}

async function drawTable(agent: AgentAddress, path: string, io: CliIo): Promise<number> {
  const table = new FlowTable();
  let lost = 0;
  const draw = (): void => {
    const note = lost === 0 ? "" : `${lost} events left out: this terminal is too slow\n`;
    // Two lines of room: the header, and the cursor's own.
    io.stdout.write(`${REDRAW}${note}${table.render((io.stdout.rows ?? 24) - 3)}`);
  };
  let timer: NodeJS.Timeout | undefined;
  try {
    for await (const line of followAgent<FlowLine>(agent, path, io.signal)) {
      if (timer === undefined) {
        io.stdout.write(CLEAR);
        timer = setInterval(draw, REDRAW_MS);
      }
      if ("lost" in line) lost += line.lost;
      else table.add(line);
    }
  } finally {
    clearInterval(timer);
  }
  draw();
  return EXIT.ok;
}

function tableOf(flows: readonly Flow[]): string {
  const table = new FlowTable();
  for (const flow of flows) table.add(flow);
  return table.render(flows.length);
}

function jsonLine(line: FlowLine): string {
  return `${JSON.stringify(line)}\n`;
}

function textLine(line: FlowLine): string {
  if ("lost" in line) return `lost ${line.lost} events\n`;
  const { time, state, workload, direction, source, originalDestination, upstream, interception } = line;
  const via = upstream === null || upstream === originalDestination ? "" : ` via ${upstream}`;
  const head = `${time} ${state.padEnd(6)} ${workload} ${direction} ${source} -> ${originalDestination ?? "?"}${via} by ${interception}${wayOf(line) && ` way ${wayOf(line)}`}`;
  if (state === "open") return `${head}\n`;
  return `${head} ${line.outcome ?? ""} sent ${line.bytesSent} received ${line.bytesReceived} in ${formatDuration(line.durationMs)}\n`;
}
