// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readLate } from "../../../src/proxy/late-bytes.ts";

let here: Socket;
let there: Socket;

beforeEach(async () => {
  const server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  there = connect(port, "127.0.0.1");
  [here] = (await once(server, "connection")) as [Socket];
  server.close();
});
afterEach(() => {
  here.destroy();
  there.destroy();
});

/** What readLate does with `here`, when it is done. */
function late(missing: number): Promise<readonly [outcome: string, bytes: string]> {
  let bytes = "";
  return new Promise((resolve) => {
    readLate(here, missing, {
      deliver: (chunk) => (bytes += chunk.toString()),
      end: () => resolve(["end", bytes]),
      fail: () => resolve(["fail", bytes]),
    });
  });
}

it("reads what is in the kernel already, and what comes while it waits", async () => {
  there.write("first ");
  const read = late(12);
  setTimeout(() => there.write("second"), 20);
  expect(await read).toEqual(["end", "first second"]);
});

it("fails when the socket is closed before all has come", async () => {
  there.write("first");
  const read = late(12);
  setTimeout(() => here.destroy(), 20);
  expect(await read).toEqual(["fail", "first"]);
});
