// SPDX-License-Identifier: Apache-2.0
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { CleanReport } from "../../../src/config/formats/clean-report.ts";
import { findCgroup2 } from "../../../src/util/mountinfo.ts";
import { addonPath } from "../../support/addon-fixture.ts";
import { runCommand, shuntArgv } from "../../support/shunt.ts";

/** Pins a map under every name given, in the bpffs that it finds at the usual place. */
const PIN = `
  const addon = require(${JSON.stringify(addonPath)});
  const map = addon.createMap({ type: 2, name: "m", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 });
  for (const name of process.argv.slice(1)) if (map.pin("/sys/fs/bpf/" + name) < 0) throw new Error(name);
`;

/**
 * `clean` where no agent is to be seen but what the machine shares: a bpffs and a /run/shunt of its own, so that it
 * takes nothing from agents of other tests that have just been killed.
 */
function alone(flags: readonly string[], pins: readonly string[]): string[] {
  const script = `mount -t bpf bpf /sys/fs/bpf && mkdir -p /run/shunt && mount -t tmpfs tmpfs /run/shunt &&
    "$0" -e "$1" ${pins.join(" ")} && shift && "$0" "$@" && echo && ls /sys/fs/bpf`;
  const [node = "", ...args] = shuntArgv(["clean", ...flags, "--json"]);
  return ["unshare", "-m", "sh", "-c", script, node, PIN, ...args];
}

it("clean --all removes cgroups and pins of probes that were killed, and lists them", async () => {
  const { pid: dead } = spawnSync("true");
  const root = findCgroup2()?.mountPoint ?? "";
  const [left, live] = [`shunt-probe-${dead}-t0-1`, `shunt-probe-${process.pid}-t0-1`];
  for (const name of [left, live]) mkdirSync(join(root, name));
  // One that the killed probe had put there.
  const member = spawn("sleep", ["60"]);
  try {
    writeFileSync(join(root, left, "cgroup.procs"), String(member.pid));
    const byName = await runCommand(alone(["--name", "nobody"], [left, live]));
    expect(byName.stdout.split("\n")).toEqual(expect.arrayContaining([left, live]));
    expect(existsSync(join(root, left))).toBe(true);

    const ended = once(member, "exit");
    const all = await runCommand(alone(["--all"], [left, live]));
    expect(all).toMatchObject({ status: 0, stderr: "" });
    const [report = "", listing = ""] = all.stdout.split("\n\n");
    const { removed, failed } = JSON.parse(report) as CleanReport;
    expect(failed).toEqual([]);
    expect(removed).toEqual(
      expect.arrayContaining([
        { kind: "cgroup", name: join(root, left) },
        { kind: "pin", name: `/sys/fs/bpf/${left}` },
      ]),
    );
    expect(removed.map(({ name }) => name)).not.toContainEqual(expect.stringContaining(live));
    expect(listing.split("\n")).toContain(live);
    expect(listing).not.toContain(left);
    expect(existsSync(join(root, left))).toBe(false);
    expect(existsSync(join(root, live))).toBe(true);
    expect(await ended).toEqual([null, "SIGKILL"]);
  } finally {
    member.kill("SIGKILL");
    for (const name of [left, live]) if (existsSync(join(root, name))) rmdirSync(join(root, name));
  }
});
