// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { WorkloadConfig } from "../../../../src/config/model.ts";
import { parseAgentConfig } from "../../../../src/config/parse.ts";
import type { PresetName } from "../../../../src/config/presets.ts";

function parse(preset: PresetName, annotations: Record<string, string>, more: object = {}) {
  const workload = { name: "a", netns: "a", preset, annotations, ...more };
  return parseAgentConfig(JSON.stringify({ workloads: [workload] }), "agent.yaml");
}

function workload(preset: PresetName, annotations: Record<string, string>, more: object = {}): WorkloadConfig {
  const parsed = parse(preset, annotations, more);
  if (!parsed.ok) throw new Error(parsed.problems.map(({ text }) => text).join("\n"));
  const [only] = parsed.value.workloads;
  if (!only) throw new Error("no workload");
  return only;
}

function problem(preset: PresetName, name: string, value: string): string {
  const parsed = parse(preset, { [name]: value });
  return parsed.ok ? "" : parsed.problems.map(({ text }) => text).join("\n");
}

const cidr = (text: string) => {
  const [address, prefixLength] = text.split("/");
  return { address, prefixLength: Number(prefixLength) };
};

describe("Istio's annotations", () => {
  const traffic = (name: string): string => `traffic.sidecar.istio.io/${name}`;

  it("set what they stand for", () => {
    expect(
      workload("istio", {
        [traffic("includeInboundPorts")]: "*",
        [traffic("excludeInboundPorts")]: "81, 82,,",
        [traffic("includeOutboundPorts")]: "443",
        [traffic("excludeOutboundPorts")]: "22",
        [traffic("includeOutboundIPRanges")]: "10.0.0.0/8,fd00::/8",
        [traffic("excludeOutboundIPRanges")]: "10.1.0.0/16",
        [traffic("excludeInterfaces")]: "net1",
        "istio.io/reroute-virtual-interfaces": "vnet0,vnet1",
        "status.sidecar.istio.io/port": "15022",
        "sidecar.istio.io/interceptionMode": "TPROXY",
      }),
    ).toMatchObject({
      inbound: { includePorts: "all", excludePorts: [81, 82, 15020, 15021, 15022, 15090], preserveSource: true },
      outbound: {
        includePorts: [443],
        excludePorts: [22],
        includeCidrs: [cidr("10.0.0.0/8"), cidr("fd00::/8")],
        excludeCidrs: [cidr("10.1.0.0/16")],
      },
      interfaces: { exclude: ["net1"], reroute: ["vnet0", "vnet1"] },
    });
  });

  it("exclude inbound ports only where all are included", () => {
    const { inbound } = workload("istio", {
      [traffic("includeInboundPorts")]: "80,81",
      [traffic("excludeInboundPorts")]: "81",
    });
    expect(inbound).toMatchObject({ includePorts: [80, 81], excludePorts: [15020, 15021, 15090] });
  });

  it("capture nothing inbound with an empty list", () => {
    expect(workload("istio", { [traffic("includeInboundPorts")]: "" }).inbound.includePorts).toEqual([]);
  });

  it.each([
    ["sidecar.istio.io/interceptionMode", "NONE"],
    ["sidecar.istio.io/inject", "false"],
  ])("%s: %s turns both directions off", (name, value) => {
    expect(workload("istio", { [name]: value })).toMatchObject({
      inbound: { enabled: false },
      outbound: { enabled: false },
    });
  });

  it("of ambient mode turn inbound off and DNS on", () => {
    expect(
      workload("istio", { "ambient.istio.io/bypass-inbound-capture": "true", "ambient.istio.io/dns-capture": "true" }),
    ).toMatchObject({ inbound: { enabled: false }, outbound: { enabled: true, dns: { capture: "all" } } });
  });

  it("yield to what the configuration says itself", () => {
    const { outbound } = workload(
      "istio",
      { [traffic("excludeOutboundPorts")]: "22", [traffic("includeOutboundPorts")]: "80" },
      { outbound: { excludePorts: [9] } },
    );
    expect(outbound).toMatchObject({ excludePorts: [9], includePorts: [80] });
  });

  it.each([
    [
      traffic("excludeInboundPorts"),
      "*",
      'annotations["traffic.sidecar.istio.io/excludeInboundPorts"]: "*" is not a list of ports',
    ],
    [traffic("excludeInboundPorts"), "70000", '"70000" is not a list of ports'],
    [traffic("includeInboundPorts"), "80,*", '"80,*" is not "*" or a list of ports'],
    [traffic("includeOutboundIPRanges"), "10.0.0.1", '"10.0.0.1" is not "*" or a list of address ranges'],
    [traffic("excludeInterfaces"), "a-name-that-is-too-long", "is not a list of interface names"],
    ["sidecar.istio.io/interceptionMode", "tproxy", '"tproxy" is not REDIRECT, TPROXY or NONE'],
    [
      traffic("excludeInboundPort"),
      "1",
      "unknown annotation, did you mean traffic.sidecar.istio.io/excludeInboundPorts?",
    ],
  ])("%s: %s is an error that names it", (name, value, message) => {
    expect(problem("istio", name, value)).toContain(message);
  });

  it("of other tools are left alone", () => {
    expect(problem("istio", "prometheus.io/scrape", "true")).toBe("");
  });
});

describe("Kuma's annotations", () => {
  it("set what they stand for, over Kuma's defaults", () => {
    expect(
      workload(
        "kuma",
        {
          "traffic.kuma.io/exclude-inbound-ports": "80,9000-9002",
          "traffic.kuma.io/exclude-outbound-ports": "22",
          "traffic.kuma.io/exclude-inbound-ips": "10.0.0.7",
          "traffic.kuma.io/exclude-outbound-ips": "fd00::1,10.0.0.0/8",
          "traffic.kuma.io/drop-invalid-packets": "true",
          "kuma.io/transparent-proxying-outbound-port": "25001",
          "kuma.io/transparent-proxying-ip-family-mode": "ipv4",
          "kuma.io/builtin-dns": "enabled",
          "kuma.io/builtin-dns-port": "25053",
        },
        { proxy: { external: true } },
      ),
    ).toMatchObject({
      inbound: { port: 15006, excludePorts: [80, 9000, 9001, 9002], excludeCidrs: [cidr("10.0.0.7/32"), cidr("::/0")] },
      outbound: {
        port: 25001,
        excludePorts: [22],
        excludeCidrs: [cidr("fd00::1/128"), cidr("10.0.0.0/8"), cidr("::/0")],
        dns: { capture: "resolv.conf", port: 25053 },
      },
      dropInvalid: true,
      proxy: { uids: [5678], gids: [] },
    });
  });

  it("are refused where they can't be expressed", () => {
    expect(problem("kuma", "traffic.kuma.io/exclude-outbound-ports-for-uids", "tcp:22:1000")).toContain(
      "ports excluded for some users alone can't be expressed",
    );
  });
});

describe("Linkerd's annotations", () => {
  it("set what they stand for, over Linkerd's defaults", () => {
    expect(
      workload("linkerd", {
        "config.linkerd.io/skip-inbound-ports": "25,3306",
        "config.linkerd.io/skip-outbound-ports": "8000-8001",
        "config.linkerd.io/skip-subnets": "10.0.0.0/8",
        "config.linkerd.io/admin-port": "5191",
        "config.linkerd.io/proxy-uid": "9",
        "config.linkerd.io/proxy-cpu-limit": "1",
      }),
    ).toMatchObject({
      inbound: { port: 4143, excludePorts: [25, 3306, 4190, 4191, 5191], excludeCidrs: [cidr("10.0.0.0/8")] },
      outbound: { port: 4140, excludePorts: [8000, 8001] },
      proxy: { uids: [9] },
    });
  });

  it("leave Galera's ports out by default", () => {
    expect(workload("linkerd", {})).toMatchObject({
      inbound: { excludePorts: [4190, 4191, 4567, 4568] },
      outbound: { excludePorts: [4567, 4568] },
    });
  });
});

describe("Open Service Mesh's annotations", () => {
  it("set what they stand for, over its defaults", () => {
    expect(
      workload("osm", {
        "openservicemesh.io/inbound-port-exclusion-list": "80",
        "openservicemesh.io/outbound-port-exclusion-list": "6379,7070",
        "openservicemesh.io/outbound-ip-range-exclusion-list": "1.1.1.1/32",
        "openservicemesh.io/outbound-ip-range-inclusion-list": "10.0.0.0/8",
      }),
    ).toMatchObject({
      inbound: { port: 15003, excludePorts: [80, 15010, 15901, 15902, 15903] },
      outbound: { excludePorts: [6379, 7070], excludeCidrs: [cidr("1.1.1.1/32")], includeCidrs: [cidr("10.0.0.0/8")] },
    });
  });
});
