// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import { EXTERNAL } from "../../support/external-proxy.ts";
import { NetLab } from "../../support/net-lab.ts";
import { runCommand, ShuntAgent } from "../../support/shunt.ts";

// That answers are right, not that `not_ours` of bpf/getsockopt.bpf.c is needed for it: without it this passes under 6.18
// too, and what test/vm/sockets.sh asks under Debian's 6.1.0-56. Mainline needs it before 6.5.

/** TCP_INFO read into `length` bytes: the length that came back, or the error. */
const READ = `
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
tcp = socket.socket()
length = ctypes.c_int(int(sys.argv[1]))
buffer = ctypes.create_string_buffer(length.value)
status = libc.getsockopt(tcp.fileno(), socket.IPPROTO_TCP, socket.TCP_INFO, buffer, ctypes.byref(length))
print(length.value if status == 0 else os.strerror(ctypes.get_errno()))
`;

const absent = ["iptables-legacy-save", "iptables-legacy-restore"].find((name) => findCommand(name) === undefined);

it.skipIf(absent !== undefined)(
  `getsockopt with buffers beyond a page answers as before where an external proxy is enrolled${absent ? ` (skipped: no ${absent})` : ""}`,
  async (context) => {
    using lab = new NetLab("sockopt");
    const inside = { netns: lab.client.path };
    const read = async (length: number) => (await runCommand(["python3", "-c", READ, String(length)], inside)).stdout;
    const rules = Array.from({ length: 100 }, (_, i) => `-A OUTPUT -p tcp -m tcp --dport ${2000 + i} -j ACCEPT`);
    const stdin = ["*filter", ":OUTPUT ACCEPT [0:0]", ...rules, "COMMIT", ""].join("\n");
    const restored = await runCommand(["iptables-legacy-restore"], { ...inside, stdin });
    if (restored.status !== 0) context.skip(`the kernel has no ip_tables: ${restored.stderr}`);
    const save = async () => {
      const { status, stdout, stderr } = await runCommand(["iptables-legacy-save", "-t", "filter"], inside);
      return { status, stderr, rules: stdout.split("\n").filter((line) => line.startsWith("-A")) };
    };
    const before = [await save(), await read(104), await read(8192), await read(65536)];
    const workload = { name: "app", netns: lab.client.path, proxy: EXTERNAL, inbound: { enabled: false } };
    await using agent = await ShuntAgent.start({ mode: "ebpf", workloads: [workload] });
    expect([await save(), await read(104), await read(8192), await read(65536)]).toEqual(before);
    expect(before[0]).toEqual({ status: 0, stderr: "", rules });
    await agent.stop();
  },
);
