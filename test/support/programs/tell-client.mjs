// SPDX-License-Identifier: Apache-2.0
/** Asks a tell server and adds what the client's own socket says: tell-client.mjs ADDRESS PORT */
import { connect } from "node:net";

const [address, port] = process.argv.slice(2);
const socket = connect(Number(port), address);
let answer = "";
socket.setEncoding("utf8").on("data", (text) => (answer += text));

/** @param {unknown} told */
const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);
socket.on("connect", () => {
  const peer = [socket.remoteAddress, socket.remotePort];
  socket.on("end", () => tell({ ...JSON.parse(answer.split("\r\n\r\n")[1] ?? ""), peer }));
  socket.write("GET / HTTP/1.0\r\n\r\n");
});
socket.on("error", (error) => tell({ error: "code" in error ? error.code : error.message }));
