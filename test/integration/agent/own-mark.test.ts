// SPDX-License-Identifier: Apache-2.0
/** With `proxy.mark`, Shunt's own proxy carries that mark: interception knows it by nothing else. */
import { expect, it } from "vitest";
import { ask, tellServer } from "../../support/lab-process.ts";
import { inEveryMode } from "../../support/modes.ts";
import { endpoint, PodPair } from "../../support/pod-pair.ts";

inEveryMode("a proxy with a mark of its own", (mode) => {
  it("makes connections that are not led back to it", async () => {
    const proxy = { mark: "0x77/0xff" };
    await using pair = await PodPair.start({ mode, client: { proxy }, server: { proxy }, agent: { workers: 1 } });
    const { client, server } = pair.lab;
    await pair.processes.start(tellServer("python", "::", [8080]), server.path);
    for (const address of [server.v4, server.v6]) {
      const told = await ask("python", client.path, address, 8080);
      expect(told).toMatchObject({ peer: [address, 8080] });
    }
    const records = await pair.agent.waitForRecords(() => true, 4);
    const wanted = [server.v4, server.v6].flatMap((address) =>
      ["client", "server"].map((name) => [name, endpoint(address, 8080), "closed"]),
    );
    const seen = records.map(({ workload, originalDestination, outcome }) => [workload, originalDestination, outcome]);
    expect(seen.map(String).toSorted()).toEqual(wanted.map(String).toSorted());
    await pair.agent.stop();
  });
});
