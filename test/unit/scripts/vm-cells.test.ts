// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { features } from "../../../src/intercept/probe/features.ts";
import {
  type Cell,
  cellReader,
  judgeCell,
  judgeCells,
  judgeChoice,
  judgeContract,
  judgeFeatures,
  judgeReductions,
  type Probe,
  readProbe,
} from "../../../vm/cells.ts";
import { readKernelList, resolveKernels } from "../../../vm/kernel-list.ts";
import { releaseOf } from "../../../vm/own-kernel.ts";
import { formatJunit, formatTable } from "../../../vm/report.ts";
import { shownColumns } from "../../../vm/results.ts";

const probe: Probe = {
  mode: "iptables",
  tier: "D",
  reason: "eBPF is not possible: sockops (EINVAL)",
  features: Object.fromEntries(
    features.map(({ name }) => [name, name === "sockops" ? { ok: false, reason: "EINVAL" } : { ok: true }]),
  ),
};

const failedNames = (verdicts: readonly { name: string; state: string }[]): string[] =>
  verdicts.filter(({ state }) => state === "failed").map(({ name }) => name);

describe("the cells of a guest", () => {
  it("are cut out of its output by the run's own token", () => {
    const begun: string[] = [];
    const ended: Cell[] = [];
    const take = cellReader(
      "t0k",
      (name) => begun.push(name),
      (cell) => ended.push(cell),
    );
    ["t0k begin rules nftables", "other end rules nftables 0 1", "halft0k end rules nftables 3 12"].forEach(take);
    expect(begun).toEqual(["rules nftables"]);
    expect(ended).toEqual([
      { name: "rules nftables", status: 3, seconds: 12, output: "other end rules nftables 0 1\nhalf" },
    ]);
  });

  it("are skipped with their last line as the reason when they end with 77", () => {
    expect(judgeCell({ name: "sockets", status: 77, seconds: 1, output: "noise\nno eBPF" })).toMatchObject({
      state: "skipped",
      detail: "no eBPF",
    });
  });

  it("have the probe's JSON between other lines", () => {
    const output = `kernel 5.10\n${JSON.stringify(probe, undefined, 2)}\nmore`;
    expect(readProbe({ name: "probe", status: 0, seconds: 1, output })).toEqual(probe);
    expect(readProbe({ name: "probe", status: 1, seconds: 1, output: "no cgroup2" })).toBeUndefined();
  });
});

describe("what a guest goes without", () => {
  const cell = (output: string): Cell => ({ name: "probe", status: 0, seconds: 1, output });
  const output =
    "kernel 4.19\nreduction veth no pair of interfaces (CONFIG_VETH)\nreduction ipv6 no IPv6 (CONFIG_IPV6)";

  it("is a skip with its option on a kernel that nobody has described", () => {
    expect(judgeReductions(cell(output), undefined)).toEqual([
      { name: "guest veth", state: "skipped", seconds: 0, detail: "no pair of interfaces (CONFIG_VETH)" },
      { name: "guest ipv6", state: "skipped", seconds: 0, detail: "no IPv6 (CONFIG_IPV6)" },
    ]);
  });

  it("is a failure on one of the list that should have it", () => {
    const verdicts = judgeReductions(cell(output), { veth: "left out" });
    expect(failedNames(verdicts)).toEqual(["guest ipv6"]);
  });
});

describe("the contract's cell", () => {
  const cell = (last: string): Cell => ({
    name: "contract",
    status: 0,
    seconds: 1,
    output: `half-close: broken\n${last}`,
  });

  it("shows the verdict, and fails when another was expected", () => {
    expect(judgeContract(cell("acceleration: off"), "off")).toMatchObject({ state: "passed", found: "off" });
    expect(judgeContract(cell("acceleration: on"), "off")).toMatchObject({ state: "failed", found: "on" });
    expect(judgeContract(cell("acceleration: on"), undefined).state).toBe("passed");
    expect(judgeContract({ ...cell("no object"), status: 1 }, "off").state).toBe("failed");
  });

  it("is judged with the others of its kernel", () => {
    expect(failedNames(judgeCells([cell("acceleration: on")], { contract: "off" }).verdicts)).toEqual(["contract"]);
  });
});

describe("the expectation of a kernel", () => {
  it("makes exactly the features red that differ from it, whichever way", () => {
    expect(failedNames(judgeFeatures(probe, { sockops: "too old" }))).toEqual([]);
    expect(failedNames(judgeFeatures(probe, {}))).toEqual(["feature sockops"]);
    expect(failedNames(judgeFeatures(probe, { sockops: "too old", tproxy: "too old" }))).toEqual(["feature tproxy"]);
  });

  it("is the probe's own word for a kernel that nobody has described", () => {
    expect(failedNames(judgeFeatures(probe, undefined))).toEqual([]);
    expect(judgeChoice(probe, {})).toEqual([]);
  });

  it("covers mode, tier and the feature that the reason names", () => {
    expect(failedNames(judgeChoice(probe, { mode: "iptables", tier: "D", because: "sockops" }))).toEqual([]);
    expect(failedNames(judgeChoice(probe, { mode: "ebpf", tier: "A", because: "sk-lookup" }))).toEqual([
      "mode",
      "tier",
      "reason",
    ]);
  });

  it("names only what a guest can lack, and one kernel for npm test", () => {
    const names = new Set<string>([...features.map(({ name }) => name), "veth", "ipv6", "netfilter"]);
    const kernels = readKernelList();
    const named = kernels.flatMap(({ expected }) => [...Object.keys(expected.missing), expected.because ?? "sockops"]);
    expect(named.filter((name) => !names.has(name))).toEqual([]);
    expect(kernels.filter(({ inTestRun }) => inTestRun)).toHaveLength(1);
  });
});

describe("a line of the list that is as another", () => {
  const base = {
    name: "old",
    suite: "one",
    package: "image",
    inTestRun: true,
    expected: { mode: "ebpf", tier: "B", missing: { sockops: "too old" } },
  };

  it("says what differs, and is missing what the other is", () => {
    const boot = { append: "word" };
    const expected = { mode: "iptables", tier: "D", missing: { tproxy: "left out" } };
    const [, variant] = resolveKernels([base, { name: "variant", as: "old", boot, expected }]);
    expect(variant).toEqual({
      name: "variant",
      suite: "one",
      package: "image",
      boot,
      expected: { mode: "iptables", tier: "D", missing: { sockops: "too old", tproxy: "left out" } },
    });
  });

  it("names one that is there", () => {
    expect(() => resolveKernels([{ name: "variant", as: "nobody" }])).toThrow("variant is as nobody");
  });
});

describe("the report", () => {
  const result = {
    name: "old",
    release: "5.10.0",
    mode: "iptables",
    tier: "D",
    reason: "because",
    accelerator: "tcg",
    date: "2026-01-02T03:04:05.000Z",
    seconds: 61,
    tools: { qemu: "7.2.0" },
    verdicts: [
      judgeCell({ name: "auto", status: 1, seconds: 2, output: 'a < b & "c"\u0007' }),
      ...judgeFeatures(probe, { sockops: "too old" }),
    ],
  };

  it("as a table has a column a kernel, and every failure and missing feature with its reason below", () => {
    const table = formatTable([result]);
    for (const line of ["| auto | **FAILED** |", "| `sockops` | no |", "- old, `sockops`: EINVAL", "With qemu 7.2.0."])
      expect(table).toContain(line);
  });

  it("tells by itself which columns it has", () => {
    const open = "<!-- the table of npm run test:vm -->";
    expect(
      shownColumns(`# Kernels\n\n| a | b |\n${open}\n\n${formatTable([result, { ...result, name: "host" }])}`),
    ).toEqual(["old", "host"]);
    expect(shownColumns(`${open}\n`)).toEqual([]);
  });

  it("as JUnit is well-formed whatever a guest printed", () => {
    const xml = formatJunit([result]);
    expect(xml).toContain("a &lt; b &amp; &quot;c&quot;?</failure>");
    expect(xml).toContain(`tests="${features.length + 1}" failures="1" skipped="0"`);
  });
});

describe("a bzImage", () => {
  it("tells its release in the boot header", () => {
    const image = Buffer.alloc(0x1000);
    image.write("HdrS", 0x202, "latin1");
    image.writeUInt16LE(0x300, 0x20e);
    image.write("4.19.48-small (me@here) #1 SMP\0", 0x500, "latin1");
    expect(releaseOf(image)).toBe("4.19.48-small");
    expect(releaseOf(Buffer.from("not one"))).toBeUndefined();
  });
});
