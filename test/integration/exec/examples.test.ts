// SPDX-License-Identifier: Apache-2.0
/** The configurations of examples/, as they are, with real traffic. */
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { ConnectionRecord } from "../../../src/proxy/connection-record.ts";
import { exec } from "../../support/exec-run.ts";
import { HelloServer } from "../../support/hello-server.ts";
import { ask, LabProcess, LabProcesses, tellServer } from "../../support/lab-process.ts";
import { NetLab } from "../../support/net-lab.ts";
import { shuntArgv, uniqueName } from "../../support/shunt.ts";

const example = (name: string): string => join(import.meta.dirname, "../../../examples", name);

it("shunt exec --config examples/exec.yaml captures what the file does not exclude", async () => {
  using lab = new NetLab("example");
  using far = await HelloServer.start([lab.server.v4, lab.server.v6], lab.server.path);
  using own = await HelloServer.start(["127.0.0.1", "::1"], lab.client.path);
  const urls = [far.url(lab.server.v4), far.url(lab.server.v6), own.url("127.0.0.1"), own.url("::1")];
  const { status, out, records } = await exec(["--config", example("exec.yaml"), "--", "curl", "-sS", ...urls], {
    within: ["nsenter", `--net=${lab.client.path}`, "--"],
    env: { no_proxy: "*", NO_PROXY: "*" },
  });
  expect({ status, out }).toEqual({ status: 0, out: "hello".repeat(4) });
  // ::1 is excluded there.
  expect(records.map(({ originalDestination }) => originalDestination)).toEqual([
    far.endpoint(lab.server.v4),
    far.endpoint(lab.server.v6),
    own.endpoint("127.0.0.1"),
  ]);
});

it("shunt run --config examples/namespaces.yaml intercepts the two namespaces it names", async (context) => {
  const names = ["shunt-example-a", "shunt-example-b"] as const;
  const taken = names.find((name) => existsSync(`/run/netns/${name}`));
  if (taken !== undefined) return context.skip(`somebody's namespace /run/netns/${taken} is there`);
  using lab = new NetLab("example", names);
  const folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-example-`));
  const record = join(folder, "records.jsonl");
  await using processes = new LabProcesses();
  const { client: a, server: b } = lab;
  try {
    await processes.start(tellServer("python", "::", [8080, 22, 80]), b.path);
    // A name of its own, so that it meets no other agent of the machine.
    const flags = ["--config", example("namespaces.yaml"), "--name", uniqueName("example"), "--record", record];
    await using agent = await LabProcess.start(shuntArgv(["run", ...flags]));
    for (const [address, source] of [
      [b.v4, "::ffff:127.0.0.6"],
      [b.v6, "::6"],
    ] as const) {
      expect(await ask("curl", a.path, address, 8080)).toMatchObject({ client: source, peer: [address, 8080] });
      expect(await ask("curl", a.path, address, 80)).toMatchObject({ peer: [address, 80] });
      // Excluded at one end and not included at the other.
      const own = address === b.v4 ? `::ffff:${a.v4}` : a.v6;
      expect(await ask("curl", a.path, address, 22)).toMatchObject({ client: own, peer: [address, 22] });
    }
    const ended = once(agent.child, "exit");
    agent.child.kill("SIGTERM");
    expect((await ended)[0]).toBe(0);
    const records = readFileSync(record, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as ConnectionRecord)
      .map(({ workload, direction, originalDestination, outcome }) =>
        [workload, direction, originalDestination, outcome].join(" "),
      );
    expect(records.sort()).toEqual(
      [b.v4, `[${b.v6}]`]
        .flatMap((address) => [
          `a outbound ${address}:8080 closed`,
          `a outbound ${address}:80 closed`,
          `b inbound ${address}:8080 closed`,
        ])
        .sort(),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
