// SPDX-License-Identifier: Apache-2.0
// npx tsx scripts/measure-cidrs.ts: what a connection costs with no excluded range and with a thousand, by back-end. As root.
// Prints the table of docs/rules.md.

import { cpus, release } from "node:os";
import { EbpfBackend } from "../src/intercept/ebpf/backend.ts";
import { iptablesBackend } from "../src/intercept/iptables/backend.ts";
import { NetworkNamespace } from "../src/intercept/network-namespace.ts";
import { nftablesBackend } from "../src/intercept/nftables/backend.ts";
import type { InterceptSpec } from "../src/intercept/spec.ts";
import { loadAddon } from "../src/native/load-addon.ts";
import { check } from "../src/native/status.ts";

const RANGES = [0, 1000];
const ROUNDS = 7;
const CONNECTIONS = 600;
const ADDRESS = "127.0.0.1";
/** Nobody listens in a fresh namespace: the kernel answers with a reset, and no queue fills. */
const PORT = 9;
const NAME = `measure-${process.pid}`;

interface Candidate {
  apply(spec: InterceptSpec): Promise<unknown>;
  remove(): Promise<unknown> | void;
}

/** The connection passes all ranges and is captured by nothing: what is measured is the decision. */
function specFor(path: string, ranges: number): InterceptSpec {
  return {
    name: NAME,
    target: { kind: "netns", path },
    outbound: {
      port: 15001,
      includePorts: [],
      excludePorts: [],
      includeCidrs: [],
      excludeCidrs: Array.from({ length: ranges }, (_, i) => ({
        address: `10.${i >> 8}.${i & 255}.0`,
        prefixLength: 24,
      })),
      captureLoopback: true,
      captureLocal: true,
      dns: { kind: "off" },
      ownerGroups: { kind: "all-except", groups: [] },
    },
    proxy: { mark: { value: 0x539, mask: 0xfff }, uids: [], gids: [], external: false },
    interfaces: { exclude: [], reroute: [] },
    dropInvalid: false,
    failMode: "deny",
    trace: false,
  };
}

/** Microseconds that connect(2) takes: the decision of a hook, or of rules on the first packet, is part of it. */
function connectMicros(netns: number): number {
  const addon = loadAddon();
  const fd = check(addon.bindSocket({ address: ADDRESS, port: PORT, netns }), "socket");
  const start = process.hrtime.bigint();
  const pending = addon.connectSocket(fd, ADDRESS, PORT, () => {});
  const micros = Number(process.hrtime.bigint() - start) / 1000;
  if (typeof pending !== "number") pending.cancel();
  addon.closeFd(fd);
  return micros;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** The least median of the rounds: what disturbs only ever adds. */
async function measure(candidate: Candidate | undefined, netns: NetworkNamespace, ranges: number): Promise<number> {
  await candidate?.apply(specFor(netns.path, ranges));
  const rounds = Array.from({ length: ROUNDS }, () =>
    median(Array.from({ length: CONNECTIONS }, () => connectMicros(netns.fd))),
  );
  await candidate?.remove();
  return Math.min(...rounds);
}

async function main(): Promise<void> {
  const fd = check(loadAddon().newNetns(true), "unshare(CLONE_NEWNET)");
  using netns = new NetworkNamespace(`/proc/${process.pid}/fd/${fd}`);
  const ebpf = new EbpfBackend({ name: NAME });
  const rows: string[] = [];
  const row = async (name: string, candidate?: Candidate): Promise<void> => {
    const micros: number[] = [];
    for (const ranges of candidate ? RANGES : [0]) micros.push(await measure(candidate, netns, ranges));
    rows.push(`| ${name} | ${micros.map((value) => value.toFixed(1)).join(" | ")} |`);
  };
  try {
    await row("none");
    await row("ebpf", { apply: (spec) => ebpf.apply(spec, netns, []), remove: () => ebpf.remove() });
    await row("nftables", {
      apply: (spec) => nftablesBackend.apply(spec),
      remove: () => nftablesBackend.removeAll(netns.path),
    });
    for (const flavour of ["nft", "legacy"] as const) {
      await row(`iptables (${flavour})`, {
        apply: (spec) => iptablesBackend.apply(spec, { flavour }),
        remove: () => iptablesBackend.removeAll(netns.path),
      });
    }
  } finally {
    ebpf.remove();
    loadAddon().closeFd(fd);
  }
  const head = `| back-end | ${RANGES.map((count) => `${count} ranges`).join(" | ")} |\n|---|${RANGES.map(() => "--:|").join("")}`;
  const where = `Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model ?? "?"}`;
  process.stdout.write(
    `${new Date().toISOString().slice(0, 10)}, ${where}; µs per connect(2)\n\n${head}\n${rows.join("\n")}\n`,
  );
}

await main();
