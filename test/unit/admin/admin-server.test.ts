// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { existsSync, linkSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AdminServer, startAdminServer } from "../../../src/admin/admin-server.ts";
import { aFlow, aStatus, exampleConfig, FixtureSource, temporaryFolder } from "../../support/admin-fixture.ts";

let folder: ReturnType<typeof temporaryFolder>;
let socketPath: string;
let source: FixtureSource;
let server: AdminServer;
let errors: unknown[];

beforeEach(async () => {
  folder = temporaryFolder();
  socketPath = join(folder.path, "t/admin.sock");
  source = new FixtureSource();
  errors = [];
  server = await start();
});
afterEach(async () => {
  await server.close();
  folder[Symbol.dispose]();
});

const start = (tcp?: { address: string; port: number }, path = socketPath): Promise<AdminServer> =>
  startAdminServer({
    source,
    socketPath: path,
    onError: (error) => errors.push(error),
    ...(tcp === undefined ? {} : { tcp }),
  });

async function open(path: string, options: object = { socketPath }): Promise<IncomingMessage> {
  const asking = request({ path, ...options });
  asking.end();
  const [response] = (await once(asking, "response")) as [IncomingMessage];
  return response.setEncoding("utf8");
}

async function get(
  path: string,
  options?: object,
): Promise<{ status: number | undefined; type: string | undefined; text: string }> {
  const response = await open(path, options);
  let text = "";
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, type: response.headers["content-type"], text };
}

describe("the admin server", () => {
  it("serves metrics in Prometheus' format", async () => {
    const answer = await get("/metrics");
    expect(answer.type).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(answer.text).toContain("\nshunt_ready 1\n");
  });

  it("is ready with 200 and not ready with 503, either with the reason", async () => {
    expect(await get("/ready")).toMatchObject({ status: 200, text: "2 workloads\n" });
    source.isReady = false;
    expect(await get("/ready")).toMatchObject({ status: 503, text: "blue: no listener\n" });
  });

  it.each([
    ["/config", exampleConfig],
    ["/status", aStatus],
  ])("answers %s with JSON", async (path, expected) => {
    const answer = await get(path);
    expect([answer.status, answer.type]).toEqual([200, "application/json"]);
    expect(JSON.parse(answer.text)).toEqual(expected);
  });

  it("lists open flows, of one workload where asked", async () => {
    source.open = [aFlow("1"), aFlow("2", { workload: "green" })];
    const ids = async (path: string): Promise<string[]> =>
      (JSON.parse((await get(path)).text) as { id: string }[]).map(({ id }) => id);
    expect(await ids("/flows")).toEqual(["1", "2"]);
    expect(await ids("/flows?workload=green")).toEqual(["2"]);
  });

  it("explains, and says what is wrong with a question", async () => {
    const question = "/explain?workload=blue&direction=outbound&port=80";
    const answer = await get(`${question}&address=::FFFF:10.0.0.1`);
    expect(JSON.parse(answer.text)).toMatchObject({ query: { address: "10.0.0.1", port: 80 }, verdict: "redirect" });
    expect(await get(question)).toMatchObject({ status: 400, text: "address is missing\n" });
    expect(await get(`${question}&address=x`)).toMatchObject({
      status: 400,
      text: 'address "x" is not an IP address\n',
    });
    expect(await get("/explain?workload=blue&direction=up&port=80")).toMatchObject({
      status: 400,
      text: 'direction "up" is not one of outbound, inbound\n',
    });
    expect(await get("/explain?workload=blue&direction=inbound&port=70000&address=::1")).toMatchObject({
      status: 400,
      text: 'port "70000" is not a port (0 … 65535)\n',
    });
    for (const [asked, text] of [
      ["uid=4294967295", 'uid "4294967295" is not a number (0 … 4294967294)'],
      ["gid=x", 'gid "x" is not a number (0 … 4294967294)'],
      ["mark=0x539/1", 'mark "0x539/1" is not a number (0 … 4294967295)'],
      ["interface=sixteen-letters-", 'interface "sixteen-letters-" is not a name of an interface'],
      ["transport=sctp", 'transport "sctp" is not one of tcp, udp'],
    ]) {
      expect(await get(`${question}&address=::1&${asked}`)).toMatchObject({ status: 400, text: `${text}\n` });
    }
    expect(await get("/explain?workload=blue&direction=inbound&port=80&address=::1&uid=0")).toMatchObject({
      status: 400,
      text: 'uid "0" only with direction outbound\n',
    });
    expect(await get("/explain?workload=red&direction=inbound&port=1&address=::1")).toMatchObject({
      status: 404,
      text: 'no workload "red" (known: blue)\n',
    });
  });

  it("reports a failure of the agent's own, answers it with 500 and goes on", async () => {
    expect(await get("/explain?workload=broken&direction=inbound&port=1&address=::1")).toMatchObject({
      status: 500,
      text: "odd\n",
    });
    expect(errors).toEqual([new RangeError("odd")]);
    expect(await get("/ready")).toMatchObject({ status: 200 });
  });

  it.each(["/", "/metrics/", "/constructor", "//metrics", "*", "/..%2f", "http://x/metrics"])(
    "has nothing at %s",
    async (path) => {
      expect(await get(path)).toMatchObject({ status: 404 });
    },
  );

  it("changes nothing for anybody: only GET and HEAD are allowed", async () => {
    expect(await get("/ready", { socketPath, method: "POST" })).toMatchObject({ status: 405 });
    expect(await get("/ready", { socketPath, method: "HEAD" })).toMatchObject({ status: 200, text: "" });
  });
});

describe("acceleration", () => {
  const change = (state: string, where: object = { socketPath }) =>
    get(`/acceleration?state=${state}`, { ...where, method: "POST" });

  it("is switched by who may open the socket", async () => {
    const answer = await change("off");
    expect(answer).toMatchObject({ status: 200 });
    expect(JSON.parse(answer.text)).toEqual({ state: "off", reason: "asked for" });
    expect(await change("maybe")).toMatchObject({ status: 400, text: 'state "maybe" is not on or off\n' });
  });

  it("is not switched by looking, nor over TCP", async () => {
    expect(await get("/acceleration?state=off", { socketPath })).toMatchObject({ status: 404 });
    const both = await start({ address: "127.0.0.1", port: 0 }, join(folder.path, "tcp.sock"));
    const { address: host, port } = both.tcp ?? {};
    expect(await change("off", { host, port })).toMatchObject({ status: 405 });
    await both.close();
  });
});

describe("a follower of the flows", () => {
  it("gets the open ones, then each that begins or ends, and is forgotten when it leaves", async () => {
    source.open = [aFlow("1"), aFlow("9", { workload: "green" })];
    const response = await open("/flows?follow=1&workload=blue");
    const lines: string[] = [];
    for await (const chunk of response) {
      lines.push(...String(chunk).trim().split("\n"));
      if (lines.length === 1) {
        source.tell(aFlow("8", { workload: "green" }));
        source.tell(aFlow("2"));
        source.tell(aFlow("2", { state: "closed", outcome: "closed" }));
      }
      if (lines.length >= 3) break;
    }
    expect(lines.map((line) => (JSON.parse(line) as { id: string; state: string }).id)).toEqual(["1", "2", "2"]);
    await expect.poll(() => source.followers.size).toBe(0);
  });

  it("that does not read is told how many it missed, and costs no more memory than a buffer", async () => {
    const response = await open("/flows?follow=1");
    await expect.poll(() => source.followers.size).toBe(1);
    const told = 200_000;
    for (let i = 0; i < told; i++) {
      source.tell(aFlow(String(i)));
      // Lets the kernel's buffers fill.
      if (i % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    let rest = "";
    let got = 0;
    let lost = 0;
    for await (const chunk of response) {
      const lines = (rest + String(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const flow = JSON.parse(line) as { lost?: number };
        if (flow.lost === undefined) got++;
        else lost += flow.lost;
      }
      if (got + lost === told) break;
    }
    expect(lost).toBeGreaterThan(0);
    expect(got + lost).toBe(told);
  });

  it("is sent away when the agent ends", async () => {
    const response = await open("/flows?follow=1");
    response.resume();
    const gone = new Promise((resolve) => {
      response.once("aborted", resolve);
      response.once("error", resolve);
    });
    await server.close();
    await gone;
    expect(source.followers.size).toBe(0);
  });
});

describe("the socket", () => {
  it("is its owner's alone", () => {
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
  });

  it("is gone when the server is closed", async () => {
    await server.close();
    expect(existsSync(socketPath)).toBe(false);
  });

  it("is not taken from an agent that answers", async () => {
    await expect(start()).rejects.toThrow(`${socketPath}: another agent answers there`);
    expect(await get("/ready")).toMatchObject({ status: 200 });
  });

  it("is taken over from an agent that crashed", async () => {
    const stale = join(folder.path, "stale.sock");
    const crashed = createServer().listen(stale);
    await once(crashed, "listening");
    // Closing removes the path; a second name keeps what a crash leaves.
    linkSync(stale, `${stale}.kept`);
    crashed.close();
    await once(crashed, "close");
    renameSync(`${stale}.kept`, stale);
    const next = await start(undefined, stale);
    expect(await get("/ready", { socketPath: stale })).toMatchObject({ status: 200 });
    await next.close();
  });

  it("is not made over a file of somebody else's", async () => {
    const file = join(folder.path, "file");
    writeFileSync(file, "precious");
    await expect(start(undefined, file)).rejects.toMatchObject({ code: "ERR_ADMIN_LISTEN" });
    expect(readFileSync(file, "utf8")).toBe("precious");
  });
});

describe("on TCP", () => {
  it.each(["127.0.0.1", "::1"])("%s serves the same", async (address) => {
    const both = await start({ address, port: 0 }, join(folder.path, "both.sock"));
    expect(await get("/ready", { host: address, port: both.tcp?.port })).toMatchObject({ status: 200 });
    await both.close();
  });

  it("a taken port is named by its flag, and leaves no socket behind", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const path = join(folder.path, "other.sock");
    await expect(start({ address: "127.0.0.1", port }, path)).rejects.toThrow(
      `--admin 127.0.0.1:${port}: cannot listen: EADDRINUSE`,
    );
    expect(existsSync(path)).toBe(false);
    taken.close();
  });
});
