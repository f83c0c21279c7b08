// SPDX-License-Identifier: Apache-2.0
/** A query of a socket bound to 127.0.0.6 or ::6 is let be, as `explain` says, whichever system call sends it. */
import { describe, expect, it } from "vitest";
import type { Explanation } from "../../../src/config/formats/explanation.ts";
import { LabProcesses } from "../../support/lab-process.ts";
import { ip, NetLab } from "../../support/net-lab.ts";
import { runCommand, ShuntAgent } from "../../support/shunt.ts";

const RESOLVER = `
import socket, sys
udp = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    how, client = udp.recvfrom(512)
    print(how.decode(), "from", client[0], flush=True)`;
const ASK = `
import socket, sys
how, source, resolver = sys.argv[1:]
udp = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((source, 0))
if how == "connect": udp.connect((resolver, 53)); udp.send(how.encode())
else: udp.sendto(how.encode(), (resolver, 53))`;

describe.each(["ebpf", "iptables", "nftables"])("in mode %s", (mode) => {
  it("a query from the pass-through source reaches the resolver itself", async () => {
    using lab = new NetLab("passq");
    const { netns, path } = lab.client;
    ip("-n", netns, "addr", "add", "::53/128", "dev", "lo");
    await using processes = new LabProcesses();
    const dns = { capture: "resolv.conf", servers: ["127.0.0.53", "::53"] };
    const workload = { name: "pod", netns: path, outbound: { dns } };
    await using agent = await ShuntAgent.start({ mode, workers: 1, workloads: [workload] });
    for (const [source, resolver] of [
      ["127.0.0.6", "127.0.0.53"],
      ["::6", "::53"],
    ] as const) {
      const server = await processes.start(["python3", "-c", RESOLVER, resolver], path);
      for (const how of ["sendto", "connect"]) {
        const asked = await runCommand(["python3", "-c", ASK, how, source, resolver], { netns: path });
        expect(asked).toMatchObject({ status: 0 });
        expect(await server.line(new RegExp(`^${how}`))).toBe(`${how} from ${source}`);
      }
      const flags = ["--workload", "pod", "--direction", "outbound", "--address", resolver, "--port", "53", "--udp"];
      const answer = await agent.ask<Explanation>("explain", [...flags, "--source", source]);
      expect(answer).toMatchObject({ verdict: "pass", reason: "passthrough-source" });
      expect(await agent.ask<Explanation>("explain", flags)).toMatchObject({ verdict: "redirect", reason: "dns" });
    }
    await agent.stop();
  });
});
