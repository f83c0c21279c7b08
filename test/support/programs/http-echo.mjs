// SPDX-License-Identifier: Apache-2.0
/** HTTP server that answers every request with "hello\n" and keeps its connections: http-echo.mjs ADDRESS PORT */
import { once } from "node:events";
import { createServer } from "node:http";

const [address, port] = process.argv.slice(2);
const server = createServer((_request, response) => response.end("hello\n"));
server.listen(Number(port), address);
await once(server, "listening");
process.stdout.write("ready\n");
