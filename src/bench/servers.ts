// SPDX-License-Identifier: Apache-2.0
import type { Belongings } from "./belongings.ts";
import type { Processes, Serving } from "./processes.ts";
import type { Client, Load } from "./scenario.ts";
import { ECHO_TOOL } from "./tools.ts";

interface Service {
  readonly client: Client;
  readonly answers: "echo" | "count";
  readonly port: number;
}

/** One server for each kind of client, and for requests and for bulk. */
export const SERVICES: readonly Service[] = [
  { client: "polling", answers: "echo", port: 7000 },
  { client: "blocking", answers: "echo", port: 7001 },
  { client: "polling", answers: "count", port: 7002 },
  { client: "blocking", answers: "count", port: 7003 },
];

/** Where a load finds its server. */
export function portFor({ client, test }: Load): number {
  const answers = test === "bulk" ? "count" : "echo";
  const service = SERVICES.find((candidate) => candidate.client === client && candidate.answers === answers);
  if (service === undefined) throw new RangeError(`no server for ${client} ${test}`);
  return service.port;
}

/** Starts all of them on an address of a namespace. */
export async function startServers(
  processes: Processes,
  netns: string,
  address: string,
  own: Belongings,
): Promise<void> {
  const started = SERVICES.map(({ client, answers, port }): [Serving, number] => {
    const way = client === "blocking" ? ["--blocking", "--threads"] : [];
    const argv = [ECHO_TOOL, address, String(port), "--mode", answers, ...way, "-d", "3600"];
    return [own.use(processes.start(argv, "KILL", { netns })), port];
  });
  for (const [server, port] of started) await server.says(`ready ${address} ${port}`);
}
