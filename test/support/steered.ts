// SPDX-License-Identifier: Apache-2.0
import type { Told } from "./lab-process.ts";
import { TcpPeer } from "./tcp-peer.ts";

export interface Steering {
  /** Somebody stands between the two ends. */
  readonly steered: boolean;
  /** Connections that were made to find out. */
  readonly connections: number;
}

/**
 * Whether a connection to a tell server goes through a proxy: then the server sees another port than the client has.
 * The two could be the same by chance, so equal ones are looked at again.
 */
export async function steering(netnsFd: number, address: string, port: number): Promise<Steering> {
  for (let connections = 1; ; connections++) {
    const peer = await TcpPeer.connect({ address, port, netnsFd });
    const answer = await peer.write("GET / HTTP/1.0\r\n\r\n").toEnd();
    peer.socket.destroy();
    const told = JSON.parse(answer.toString().split("\r\n\r\n")[1] ?? "{}") as Told;
    if (told.clientPort !== peer.localPort) return { steered: true, connections };
    if (connections === 3) return { steered: false, connections };
  }
}
