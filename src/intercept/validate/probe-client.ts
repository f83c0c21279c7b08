// SPDX-License-Identifier: Apache-2.0
/**
 * Entry of a child process that connects as the proxy does. A process of its own, because rules and programs know the
 * proxy by the user of its sockets, and a process has one. Prints a line of JSON for every attempt until it is killed.
 */
import { connect } from "node:net";

/** What the parent passes as the only argument. */
export interface ProbeClientRequest {
  readonly probes: readonly {
    readonly family: 4 | 6;
    readonly source: string;
    readonly address: string;
    readonly port: number;
  }[];
  /** Identity to take on; absent: stay who we are. */
  readonly uid?: number;
  readonly gid?: number;
  readonly intervalMs: number;
}

/** One attempt; `error` is the system's code, absent when the connection was made. */
export interface ProbeClientReport {
  readonly family: 4 | 6;
  readonly error?: string;
}

const request = JSON.parse(process.argv[2] ?? "{}") as ProbeClientRequest;
// The parent is gone: nobody reads.
process.stdout.on("error", () => process.exit(1));
const refused = becomeProxy();
for (const probe of request.probes) {
  if (refused === undefined) attempt(probe);
  else tell({ family: probe.family, error: refused });
}

/** Why not: root in a container need not have CAP_SETUID. */
function becomeProxy(): string | undefined {
  const { uid, gid } = request;
  try {
    if (gid !== undefined) {
      process.setgroups?.([]);
      process.setgid?.(gid);
    }
    if (uid !== undefined) process.setuid?.(uid);
    return undefined;
  } catch (error) {
    return `${(error as Error).message}, as user ${uid}, group ${gid}`;
  }
}

function tell(report: ProbeClientReport): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

function attempt(probe: ProbeClientRequest["probes"][number]): void {
  const socket = connect({ host: probe.address, port: probe.port, localAddress: probe.source });
  const report = (error?: string): void => {
    tell({ family: probe.family, ...(error !== undefined && { error }) });
    socket.destroy();
    // Rules may come while we are asking: with istio-cni somebody else makes them.
    setTimeout(() => attempt(probe), request.intervalMs);
  };
  socket.once("connect", () => report());
  socket.once("error", (error: NodeJS.ErrnoException) => report(error.code ?? error.message));
}
