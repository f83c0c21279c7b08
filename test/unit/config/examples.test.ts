// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { expect, it } from "vitest";
import { loadAgentConfig, loadExecConfig } from "../../../src/config/parse.ts";

const example = (name: string): string => join(import.meta.dirname, "../../../examples", name);

it("examples/agent.yaml is a configuration of run", () => {
  const config = loadAgentConfig(example("agent.yaml"));
  expect(config.workloads.map(({ name, target }) => [name, target.kind])).toEqual([
    ["blue", "netns"],
    ["green", "pid"],
    ["batch", "cgroup"],
    ["sidecar", "netns"],
  ]);
  // The merged fields and the ones of its own.
  expect(config.workloads[1]?.outbound).toMatchObject({
    excludePorts: [22],
    includeCidrs: [
      { address: "10.0.0.0", prefixLength: 8 },
      { address: "fd00::", prefixLength: 8 },
    ],
  });
});

it("examples/namespaces.yaml is a configuration of run", () => {
  const { workloads } = loadAgentConfig(example("namespaces.yaml"));
  expect(workloads.map(({ name, target, failMode }) => ({ name, target, failMode }))).toEqual([
    { name: "a", target: { kind: "netns", path: "/run/netns/shunt-example-a" }, failMode: "deny" },
    { name: "b", target: { kind: "netns", path: "/run/netns/shunt-example-b" }, failMode: "direct" },
  ]);
});

it("examples/exec.yaml is a configuration of exec", () => {
  const { workload } = loadExecConfig(example("exec.yaml"), "all");
  expect(workload).toMatchObject({ failMode: "direct", outbound: { excludePorts: [5432], captureLoopback: true } });
});

it("a configuration that can't be read is named with the reason", () => {
  expect(() => loadAgentConfig("/nonexistent/agent.yaml")).toThrow(
    "/nonexistent/agent.yaml: cannot read the configuration: ENOENT",
  );
});
