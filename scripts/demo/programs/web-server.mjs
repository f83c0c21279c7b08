// SPDX-License-Identifier: Apache-2.0
// An ordinary Node server of the demo: it knows nothing of Shunt. Usage: node web-server.mjs PORT
import { createServer } from "node:http";

const server = createServer((request, response) => {
  process.stdout.write(`${request.socket.remoteAddress} ${request.method} ${request.url}\n`);
  response.setHeader("connection", "close");
  response.end("Hello from Node\n");
});
server.listen(Number(process.argv[2]), "::", () => process.stdout.write("listening\n"));
