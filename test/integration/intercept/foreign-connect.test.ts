// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AttachType } from "../../../src/bpf/attach-type.ts";
import type { ProbeReport } from "../../../src/config/formats/probe.ts";
import type { NativeLink } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import type { ConnectionRecord } from "../../../src/proxy/connection-record.ts";
import { parseIp } from "../../../src/util/ip.ts";
import { findCgroup2 } from "../../../src/util/mountinfo.ts";
import { patienceMs } from "../../support/inbox.ts";
import { LabProcesses, tellServer } from "../../support/lab-process.ts";
import { NetLab } from "../../support/net-lab.ts";
import { runCommand, ShuntAgent, shuntArgv } from "../../support/shunt.ts";

/**
 * Another connect program that translates a service address stands on the path. Programs of inner cgroups run first,
 * so what Shunt sees depends on where the other one is attached; the record says which address it was.
 */
const SERVICE = "10.96.0.1";
const PORT = 8080;

describe("beside a connect program that translates service addresses", () => {
  const servers = new LabProcesses();
  let lab: NetLab;
  let folder: string;
  let outer: string;

  beforeAll(async () => {
    lab = new NetLab("foreign");
    folder = mkdtempSync(join(tmpdir(), "shunt-test-foreign-"));
    outer = join(findCgroup2()?.mountPoint ?? "", `shunt-test-${process.pid}-foreign`);
    mkdirSync(outer);
    const include = `/usr/include/${execFileSync("gcc", ["-dumpmachine"], { encoding: "utf8" }).trim()}`;
    const source = join(import.meta.dirname, "../../fixtures/translate.bpf.c");
    const output = ["-c", source, "-o", join(folder, "translate.bpf.o")];
    const clang = ["-target", "bpf", "-O2", "-g", "-I", include, ...output];
    execFileSync("clang", clang, { timeout: patienceMs(60_000) });
    await servers.start(tellServer("python", lab.server.v4, [PORT]), lab.server.path);
  });

  afterAll(async () => {
    await servers[Symbol.asyncDispose]();
    if (existsSync(outer)) rmdirSync(outer);
    rmSync(folder, { recursive: true, force: true });
    lab?.[Symbol.dispose]();
  });

  const translateAt = (cgroup: string): NativeLink => {
    const addon = loadAddon();
    const object = check(
      addon.openObject(readFileSync(join(folder, "translate.bpf.o")), "translate"),
      "bpf_object__open_mem",
    );
    expect(object.load(0).status).toBe(0);
    const backend = check(object.map("backend"), "bpf_map__fd");
    check(backend.update(new Uint8Array(4), parseIp(lab.server.v4).subarray(12), 0), "bpf_map_update_elem");
    const fd = openSync(cgroup, "r");
    const link = check(
      check(object.program("translate4"), "program").link(fd, AttachType.CgroupInet4Connect),
      "bpf_link_create",
    );
    closeSync(fd);
    object.close();
    backend.close();
    return link;
  };

  const within = (cgroup: string, argv: readonly string[]): string[] => [
    "sh",
    "-c",
    'echo $$ > "$0/cgroup.procs" && exec "$@"',
    cgroup,
    ...argv,
  ];
  const curl = ["curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", `http://${SERVICE}:${PORT}/`];

  it("on an inner cgroup, the translated address is intercepted and recorded", async () => {
    const link = translateAt(outer);
    try {
      await using agent = await ShuntAgent.start({ workloads: [{ name: "client", netns: lab.client.path }] });
      const { stdout } = await runCommand(within(outer, ["nsenter", `--net=${lab.client.path}`, "--", ...curl]));
      expect(stdout).toBe("200");
      await agent.stop();
      expect(agent.records().map((record) => record.originalDestination)).toEqual([`${lab.server.v4}:${PORT}`]);
    } finally {
      link.close();
    }
  });

  it("on an outer cgroup, the service address is intercepted and recorded, and translated for the proxy", async () => {
    const link = translateAt(outer);
    const recordFile = join(folder, "outer.jsonl");
    try {
      const argv = shuntArgv(["exec", "--netns", lab.client.path, "--record", recordFile, "--", ...curl]);
      expect(await runCommand(within(outer, argv))).toMatchObject({ stdout: "200", status: 0 });
      const records = readFileSync(recordFile, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as ConnectionRecord);
      expect(records.map((record) => record.originalDestination)).toEqual([`${SERVICE}:${PORT}`]);
    } finally {
      link.close();
    }
  });

  it("is listed by probe with its place", async () => {
    const link = translateAt(outer);
    try {
      const { stdout } = await runCommand(within(outer, shuntArgv(["probe", "--json"])));
      const report = JSON.parse(stdout) as ProbeReport;
      const found = report.foreignPrograms?.filter((program) => program.name === "translate4");
      expect(found).toMatchObject([{ hook: "cgroup/connect4", cgroup: outer, order: 0 }]);
    } finally {
      link.close();
    }
  });
});
