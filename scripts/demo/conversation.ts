// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { formatEndpoint } from "../../src/net/endpoint.ts";
import { root } from "../setup/stamp.mjs";
import { DemoFailure } from "./failure.ts";
import type { NamespacePair, Side } from "./namespace-pair.ts";
import type { Processes } from "./processes.ts";
import { NODE_PORT, PYTHON_PORT } from "./servers.ts";

/** One request of an unmodified client to an unmodified server in the other namespace. */
export interface Exchange {
  readonly client: "curl" | "python3";
  readonly from: Side["color"];
  readonly to: Side["color"];
  /** `ip:port` of the server, IPv6 in brackets. */
  readonly server: string;
  readonly serverName: string;
  readonly httpStatus: string;
  /** What the client's own getpeername() says. */
  readonly peer: string;
}

/** Lets curl and Python in both namespaces ask the server in the other one, by IPv4 and by IPv6; one after another. */
export async function* converse(processes: Processes, { red, blue }: NamespacePair): AsyncGenerator<Exchange> {
  const ways = [
    { from: red, to: blue, port: PYTHON_PORT, serverName: "Python's http.server" },
    { from: blue, to: red, port: NODE_PORT, serverName: "Node" },
  ];
  for (const { from, to, port, serverName } of ways) {
    for (const client of ["curl", "python3"] as const) {
      for (const address of [to.v4, to.v6]) {
        const server = formatEndpoint({ address, port });
        const seen = await ask(processes, { client, from, address, port });
        yield { client, from: from.color, to: to.color, server, serverName, ...seen };
      }
    }
  }
}

interface Request {
  readonly client: Exchange["client"];
  readonly from: Side;
  readonly address: string;
  readonly port: number;
}

async function ask(
  processes: Processes,
  { client, from, address, port }: Request,
): Promise<Pick<Exchange, "httpStatus" | "peer">> {
  const command = commandOf(client, address, port);
  const { status, stdout, stderr } = await processes.run(command, { netns: from.netns });
  const [httpStatus = "", ip = "", peerPort = ""] = stdout.trim().split(" ");
  if (status === 0) return { httpStatus, peer: formatEndpoint({ address: ip, port: Number(peerPort) }) };
  const server = formatEndpoint({ address, port });
  throw new DemoFailure(`${client} in ${from.color} cannot reach ${server}: ${stderr.trim()}`);
}

function commandOf(client: Exchange["client"], address: string, port: number): readonly string[] {
  if (client === "python3") return ["python3", join(root, "scripts/demo/programs/client.py"), address, `${port}`];
  const asked = "%{http_code} %{remote_ip} %{remote_port}";
  const url = `http://${formatEndpoint({ address, port })}/`;
  return ["curl", "--silent", "--show-error", "--max-time", "10", "--output", "/dev/null", "--write-out", asked, url];
}
