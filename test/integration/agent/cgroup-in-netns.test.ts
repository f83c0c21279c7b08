// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { findCgroup2 } from "../../../src/util/mountinfo.ts";
import { ask, tellServer } from "../../support/lab-process.ts";
import { endpoint, PodPair } from "../../support/pod-pair.ts";
import { uniqueName } from "../../support/shunt.ts";

const PORT = 8080;

it("intercepts the processes of a cgroup in the namespace named beside it, and nobody else there", async () => {
  const cgroup = join(findCgroup2()?.mountPoint ?? "", uniqueName("tenant"));
  mkdirSync(cgroup);
  try {
    await using pair = await PodPair.start({ mode: "ebpf", client: { cgroup, inbound: { enabled: false } } });
    const { lab, agent, processes } = pair;
    await processes.start(tellServer("python", "::", [PORT]), lab.server.path);
    for (const address of [lab.server.v4, lab.server.v6]) {
      const peer = [address, PORT];
      expect(await ask("python", lab.client.path, address, PORT)).toMatchObject({ peer });
      const told = await ask("python", lab.client.path, address, PORT, { cgroup });
      expect(told).toMatchObject({ peer });
      const records = await agent.waitForRecords(
        ({ originalDestination }) => originalDestination === endpoint(address, PORT),
      );
      // Had the first one been captured, its record would be there before.
      expect(records).toMatchObject([{ workload: "client", direction: "outbound", outcome: "closed" }]);
    }
    expect(agent.records()).toHaveLength(2);
  } finally {
    rmdirSync(cgroup);
  }
});
