// SPDX-License-Identifier: Apache-2.0
/** Asks one HTTP server many times on one connection, and tells how often it got which answer: http-asker.mjs URL N */
import { Agent, get } from "node:http";

const [url = "", count] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const texts = new Map();
const ports = new Set();
for (let i = 0; i < Number(count); i++) {
  const text = await new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      ports.add(response.socket.localPort);
      let body = "";
      response.setEncoding("utf8").on("data", (part) => (body += part));
      response.on("end", () => resolve(body)).on("error", reject);
    }).on("error", reject);
  });
  texts.set(text, (texts.get(text) ?? 0) + 1);
}
agent.destroy();
process.stdout.write(`${JSON.stringify({ answers: Object.fromEntries(texts), connections: ports.size })}\n`);
