// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { runCommand, shuntArgv } from "../../support/shunt.ts";

/** Root without the two capabilities: an ordinary user may not even be able to read a clone in /root. */
const WITHOUT = ["setpriv", "--bounding-set", "-net_admin,-sys_admin", "--inh-caps", "-all", "--"];

it.each([
  ["run", ["run", "--workload-netns", "none"], 69],
  ["exec", ["exec", "--", "true"], 125],
  ["clean", ["clean", "--all"], 69],
] as const)("%s says in one sentence what it lacks and what would work", async (name, args, status) => {
  const ended = await runCommand([...WITHOUT, ...shuntArgv(args)]);
  expect(ended.status, ended.stderr).toBe(status);
  expect(ended.stderr).toBe(
    `shunt ${name}: ${name} needs root, or at least CAP_NET_ADMIN and CAP_SYS_ADMIN; probe, run --check and completion work without\n`,
  );
});

it("probe answers that nothing is possible, and why", async () => {
  const ended = await runCommand([...WITHOUT, ...shuntArgv(["probe", "--json"])]);
  expect(ended.status, ended.stderr).toBe(69);
  expect(JSON.parse(ended.stdout)).toMatchObject({ mode: "none", tier: null });
});
