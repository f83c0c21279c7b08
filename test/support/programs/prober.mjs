// SPDX-License-Identifier: Apache-2.0
/**
 * Asks a tell server again and again and prints how each connection went: prober.mjs PORT ADDRESS...
 * Ends with its standard input.
 */
import { connect } from "node:net";

const INTERVAL_MS = 20;
/** Longer than a busy machine takes, shorter than a connection that nobody will accept. */
const DEADLINE_MS = 5000 * Number(process.env["SHUNT_PATIENCE"] ?? "1");

const [port, ...addresses] = process.argv.slice(2);

/** Below what the kernel chooses (ip_local_port_range), so that a proxy never has the same by chance. */
const firstPort = Number(process.env["PROBER_FIRST_PORT"] ?? "0");
let probes = 0;

function ownPort() {
  return firstPort === 0 ? {} : { localPort: firstPort + (probes++ % 10_000) };
}

/** @param {string} target */
function probe(target) {
  const at = performance.timeOrigin + performance.now();
  const socket = connect({ port: Number(port), host: target, ...ownPort() });
  let local = "";
  let localPort = 0;
  let answer = "";
  let finished = false;
  /** @param {string} [result] */
  const finish = (result) => {
    if (finished) return;
    finished = true;
    clearTimeout(deadline);
    socket.destroy();
    const body = answer.split("\r\n\r\n")[1];
    const told = body ? JSON.parse(body) : {};
    const steered = told.clientPort !== undefined && told.clientPort !== localPort;
    const outcome = result ?? (body ? "ok" : "empty");
    const line = { at, target, result: outcome, local, client: told.client ?? "", ...(firstPort > 0 && { steered }) };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  };
  const deadline = setTimeout(() => finish("timeout"), DEADLINE_MS);
  socket.setEncoding("utf8").on("data", (text) => (answer += text));
  socket.on("connect", () => {
    local = socket.localAddress ?? "";
    localPort = socket.localPort ?? 0;
    socket.write("GET / HTTP/1.0\r\n\r\n");
  });
  socket.on("error", (error) => finish("code" in error ? String(error.code) : error.message));
  socket.on("end", () => finish());
}

setInterval(() => addresses.forEach(probe), INTERVAL_MS);
process.stdin.on("end", () => process.exit()).resume();
process.stdout.write("ready\n");
