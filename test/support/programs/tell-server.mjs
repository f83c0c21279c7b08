// SPDX-License-Identifier: Apache-2.0
/** HTTP server that tells every client which addresses its connection has: tell-server.mjs ADDRESS PORT... */
import { once } from "node:events";
import { createServer } from "node:http";

const [address, ...ports] = process.argv.slice(2);
for (const port of ports) {
  const server = createServer((request, response) => {
    const { remoteAddress, remotePort, localAddress, localPort } = request.socket;
    const client = { client: remoteAddress, clientPort: remotePort };
    response.setHeader("Connection", "close");
    response.end(JSON.stringify({ server: "node", ...client, local: [localAddress, localPort] }));
  });
  server.listen(Number(port), address);
  await once(server, "listening");
}
process.stdout.write("ready\n");
