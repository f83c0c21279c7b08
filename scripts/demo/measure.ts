// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { root } from "../setup/stamp.mjs";
import { DemoFailure } from "./failure.ts";
import type { NamespacePair } from "./namespace-pair.ts";
import type { Processes } from "./processes.ts";
import { ECHO_PORT } from "./servers.ts";

/** One run of the load generator. */
export interface Sample {
  /** Requests per second. */
  readonly rate: number;
  /** Microseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** What the load generator does in one run; it ends by itself. */
export interface Load {
  readonly title: string;
  readonly args: readonly string[];
}

export const CONNECTIONS = 8;
export const BYTES = 64;

const common = ["-c", `${CONNECTIONS}`, "-s", `${BYTES}`];

export function loads(quick: boolean): { readonly kept: Load; readonly fresh: Load } {
  const [seconds, connections] = quick ? ["0.3", "200"] : ["1", "1000"];
  return {
    kept: {
      title: `requests over ${CONNECTIONS} kept connections`,
      args: ["rr", ...common, "-d", seconds],
    },
    fresh: {
      title: "a new connection for every request",
      // The ports of closed connections stay taken for a minute: so many connections, not so many seconds.
      args: ["connect", ...common, "-n", connections, "-d", "2"],
    },
  };
}

/** Runs the load generator in red against the echo server in blue. Throws when a single request fails. */
export async function measure(processes: Processes, { red, blue }: NamespacePair, load: Load): Promise<Sample> {
  const program = join(root, "addon/build/Release/shunt-load");
  const command = [program, blue.v4, `${ECHO_PORT}`, ...load.args];
  const { stdout, stderr } = await processes.run(command, { netns: red.netns });
  if (!stdout.startsWith("{")) throw new DemoFailure(`shunt-load ${load.args.join(" ")}: ${stderr.trim()}`);
  const report = JSON.parse(stdout) as Sample & { readonly errors: number; readonly firstError: string | null };
  if (report.errors > 0) {
    throw new DemoFailure(`shunt-load ${load.args.join(" ")}: ${report.errors} requests failed: ${report.firstError}`);
  }
  return { rate: report.rate, p50: report.p50, p99: report.p99 };
}
