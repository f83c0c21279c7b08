// SPDX-License-Identifier: Apache-2.0

import { tool } from "./lab-process.ts";
import type { LabNode } from "./net-lab.ts";
import { runCommand } from "./shunt.ts";

/** What shunt-load reports; counts are of the whole run. */
export interface LoadReport {
  readonly status: number | null;
  readonly errors: number;
  readonly mismatches: number;
  readonly requests: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly [field: string]: unknown;
}

/** argv of an echo server that ends with the test. */
export function echoServer(address: string, port: number, ...flags: readonly string[]): string[] {
  return [tool("shunt-echo"), address, String(port), "--until-stdin-closes", ...flags];
}

/** Runs the load generator in a namespace to its end. */
export async function load(
  from: LabNode,
  address: string,
  port: number,
  ...test: readonly string[]
): Promise<LoadReport> {
  const argv = [tool("shunt-load"), address, String(port), ...test];
  const { status, stdout, stderr } = await runCommand(argv, { netns: from.path });
  try {
    return { ...(JSON.parse(stdout) as Omit<LoadReport, "status">), status } as LoadReport;
  } catch {
    throw new Error(`${argv.join(" ")}: ${status} ${stdout}${stderr}`);
  }
}
