// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { ownCgroup } from "../../../src/agent/exec/scratch-cgroup.ts";
import type { CleanReport } from "../../../src/config/formats/clean-report.ts";
import { ExecRun, leftovers } from "../../support/exec-run.ts";
import { HelloServer } from "../../support/hello-server.ts";
import { eventually } from "../../support/inbox.ts";
import { someOf } from "../../support/modes.ts";
import { NetLab } from "../../support/net-lab.ts";
import { runCommand, shuntArgv } from "../../support/shunt.ts";

const env = { no_proxy: "*", NO_PROXY: "*" };
let lab: NetLab;
let far: HelloServer;
let within: string[];
let root = "";
beforeAll(async () => {
  lab = new NetLab("left");
  root = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-left-`));
  within = ["nsenter", `--net=${lab.client.path}`, "--"];
  far = await HelloServer.start([lab.server.v4], lab.server.path);
});
afterAll(() => {
  far[Symbol.dispose]();
  lab[Symbol.dispose]();
  rmSync(root, { recursive: true, force: true });
});

function folder(name: string): string {
  mkdirSync(join(root, name), { recursive: true });
  return join(root, name);
}

async function rules(): Promise<string> {
  const tools = [["iptables-save"], ["ip6tables-save"], ["nft", "list", "tables", "inet"]];
  const saved = await Promise.all(tools.map((tool) => runCommand([...within, ...tool])));
  return saved.map(({ stdout }) => stdout).join("");
}

/** Of an `exec` that was killed by a test that then failed: CMD, which waits for what never comes, and all the rest. */
async function cleanUpAfter(pid: number): Promise<void> {
  for (const cgroup of leftovers(pid).filter((path) => existsSync(join(path, "cgroup.kill")))) {
    writeFileSync(join(cgroup, "cgroup.kill"), "1");
    await eventually(() => readFileSync(join(cgroup, "cgroup.events"), "utf8").includes("populated 0"));
  }
  await runCommand([...within, ...shuntArgv(["clean", "--name", `exec-${pid}`])]);
}

describe.each(someOf(["ebpf", "nftables"], "iptables"))("in mode %s", (mode) => {
  it("ten short commands one after the other leave nothing", async () => {
    const pids: number[] = [];
    for (let i = 0; i < 10; i++) {
      await using run = new ExecRun(["--mode", mode, "--", "curl", "-sS", far.url(lab.server.v4)], {
        within,
        env,
        stdin: null,
      });
      expect(await run.outcome()).toMatchObject({ status: 0, out: "hello" });
      pids.push(run.pid);
    }
    expect(pids.flatMap((pid) => leftovers(pid))).toEqual([]);
    expect(await rules()).not.toMatch(/shunt/i);
  });

  it("what a failed start made is gone", async () => {
    const netns = ["--netns", lab.client.netns, "--inbound", "80"];
    // The port is taken by the server of the test, so the proxy's listener cannot have it.
    using taken = await HelloServer.start(["127.0.0.1"], lab.client.path);
    const file = join(folder(mode), "taken.yaml");
    writeFileSync(file, `outbound: { port: ${taken.port("127.0.0.1")} }\n`);
    await using run = new ExecRun(["--mode", mode, ...netns, "--config", file, "--", "true"]);
    const { status, err } = await run.outcome();
    expect({ status, err }).toMatchObject({
      status: 125,
      err: expect.stringContaining(String(taken.port("127.0.0.1"))),
    });
    expect(leftovers(run.pid)).toEqual([]);
    expect(await rules()).not.toMatch(/shunt/i);
  });

  it("SIGKILL of exec makes new connections of CMD fail; clean removes what is left when CMD has gone", async () => {
    // Pipes with names: those of a killed child are closed by Node.
    const script = `mkfifo go end; echo pid $$; read x <go; curl -sS -m 5 ${far.url(lab.server.v4)} 2>/dev/null; echo curl $?; read x <end`;
    await using run = new ExecRun(["--mode", mode, "--", "sh", "-c", `cd "$0" && ${script}`, folder(mode)], {
      within,
      env,
    });
    onTestFinished(() => cleanUpAfter(run.pid));
    await run.printed(/pid \d+/);
    const before = far.clients.length;
    run.child.kill("SIGKILL");
    await once(run.child, "exit");
    // Folder and cgroup, and in the kernel the pins.
    expect(leftovers(run.pid).length).toBe(mode === "ebpf" ? 3 : 2);
    await writeFile(join(folder(mode), "go"), "\n");
    // 7: could not connect.
    expect((await run.printed(/curl (\d+)/))[1]).toBe("7");
    expect(far.clients.length).toBe(before);

    const name = `exec-${run.pid}`;
    const clean = () => runCommand([...within, ...shuntArgv(["clean", "--name", name, "--json"])]);
    // CMD is in the cgroup: what can go goes, the rest is told, and found again.
    const first = JSON.parse((await clean()).stdout) as CleanReport;
    expect(first.failed).toMatchObject([{ kind: "cgroup", name: expect.stringContaining(name) }]);
    expect(await rules()).not.toMatch(/shunt/i);
    await writeFile(join(folder(mode), "end"), "\n");
    // A zombie is no sign: it may be in the cgroup for a moment still.
    const events = join(first.failed[0]?.name ?? "", "cgroup.events");
    await eventually(() => readFileSync(events, "utf8").includes("populated 0"));
    expect((JSON.parse((await clean()).stdout) as CleanReport).removed.map(({ kind }) => kind)).toEqual([
      "cgroup",
      "folder",
    ]);
    expect(leftovers(run.pid)).toEqual([]);
  });
});

describe("what an exec with the same pid has left", () => {
  /** Made by a shell that becomes `exec`: the same process, the same pid. */
  async function execAfter(leave: string): Promise<{ readonly pid: number; readonly shown: string }> {
    const record = join(folder("again"), "record.jsonl");
    const curl = ["curl", "-sS", "--noproxy", "*", far.url(lab.server.v4)];
    const argv = shuntArgv(["exec", "--record", record, "--", ...curl]);
    const script = `set -e; echo $$; own=${ownCgroup()}; ${leave}; exec "$@"`;
    const { status, stdout, stderr } = await runCommand([...within, "sh", "-c", script, "sh", ...argv]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const [, pid = "", shown = ""] = /^(\d+)\n(.*)$/s.exec(stdout) ?? [];
    const [line = "{}"] = readFileSync(record, "utf8").trim().split("\n").slice(-1);
    expect(JSON.parse(line)).toMatchObject({ workload: `exec-${pid}-2`, outcome: "closed" });
    expect(leftovers(Number(pid), "-2")).toEqual([]);
    return { pid: Number(pid), shown };
  }

  it("as a cgroup is left alone, and another name taken", async () => {
    const { pid, shown } = await execAfter('mkdir "$own/shunt-exec-$$"');
    expect(shown).toBe("hello");
    expect(leftovers(pid)).toEqual([join(ownCgroup(), `shunt-exec-${pid}`)]);
    rmdirSync(join(ownCgroup(), `shunt-exec-${pid}`));
  });

  it("as a folder that clean reads is left alone, and another name taken", async () => {
    const state = { pid: 1, claims: [], workloads: [], cgroups: ["/left"] };
    const { pid, shown } = await execAfter(
      `mkdir -p /run/shunt/exec-$$; echo '${JSON.stringify(state)}' >/run/shunt/exec-$$/state.json`,
    );
    expect(shown).toBe("hello");
    expect(JSON.parse(readFileSync(`/run/shunt/exec-${pid}/state.json`, "utf8"))).toEqual(state);
    rmSync(`/run/shunt/exec-${pid}`, { recursive: true });
  });
});
