// SPDX-License-Identifier: Apache-2.0
/**
 * Fetches /small and /large over kept connections, and stores and fetches what it made up. Arguments: ADDRESS PORT
 * CONNECTIONS REQUESTS, the latter of each connection; tells digests and counts as JSON.
 */
import { createHash, randomBytes } from "node:crypto";
import { Agent, request } from "node:http";

const [host = "", port = "", connections = "", requests = ""] = process.argv.slice(2);
/** @param {Buffer} bytes */
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

/**
 * @param {Agent} agent
 * @param {string} path
 * @param {Buffer} [body]
 * @returns {Promise<{ status: number | undefined, bytes: Buffer }>}
 */
function ask(agent, path, body) {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? "GET" : "PUT";
    const asked = request({ host, port, path, method, agent, headers: { "content-length": body?.length ?? 0 } });
    asked.on("error", reject).on("response", (response) => {
      /** @type {Buffer[]} */
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece)).on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode, bytes: Buffer.concat(pieces) }));
    });
    asked.end(body);
  });
}

const told = { large: "", small: "", requests: 0, stored: 0, wrong: 0 };

/** @param {number} index */
async function work(index) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (let i = 0; i < Number(requests); i++) {
    const kind = i % 20 === 7 ? "large" : "small";
    const { status, bytes } = await ask(agent, `/${kind}`);
    const seen = digest(bytes);
    told.requests++;
    if (status !== 200 || (told[kind] !== "" && told[kind] !== seen)) told.wrong++;
    told[kind] = seen;
  }
  const made = randomBytes(400_000);
  const { status } = await ask(agent, `/stored/${index}`, made);
  const { bytes } = await ask(agent, `/stored/${index}`);
  if (status === 201 && digest(bytes) === digest(made)) told.stored++;
  agent.destroy();
}

await Promise.all(Array.from({ length: Number(connections) }, (_, index) => work(index)));
process.stdout.write(JSON.stringify(told));
