// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { type PodManifest, parsePod } from "../../../src/config/pod-manifest.ts";
import type { PresetName } from "../../../src/config/presets.ts";

interface Container {
  readonly name?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: number;
  readonly group?: number;
}

function pod({ name = "istio-proxy", env = {}, user, group }: Container = {}, spec: object = {}): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "web-0",
      namespace: "shop",
      annotations: { "traffic.sidecar.istio.io/excludeOutboundPorts": "22" },
    },
    spec: {
      containers: [
        { name: "app", image: "app", ports: [{ containerPort: 80 }] },
        {
          name,
          env: Object.entries(env).map(([key, value]) => ({ name: key, value })),
          securityContext: { runAsUser: user, runAsGroup: group },
        },
      ],
      ...spec,
    },
    status: { phase: "Running" },
  };
}

function read(manifest: object, preset: PresetName = "istio"): PodManifest {
  const parsed = parsePod(JSON.stringify(manifest), "pod.json", preset);
  if (!parsed.ok) throw new Error(parsed.problems.map(({ text }) => text).join("\n"));
  return parsed.value;
}

function problems(text: string): string[] {
  const parsed = parsePod(text, "pod.yaml", "istio");
  return parsed.ok ? [] : parsed.problems.map((problem) => problem.text);
}

describe("a pod manifest", () => {
  it("gives name and annotations", () => {
    const { name, fields } = read(pod());
    expect(name).toBe("shop.web-0");
    expect(fields["annotations"]).toEqual({ "traffic.sidecar.istio.io/excludeOutboundPorts": "22" });
  });

  it("gives the proxy's user and group, and reads 0 as 1337", () => {
    expect(read(pod({ user: 2000, group: 3000 })).fields["proxy"]).toEqual({ external: true, uid: 2000, gid: 3000 });
    expect(read(pod({ user: 0, group: 0 })).fields["proxy"]).toEqual({ external: true, uid: 1337, gid: 1337 });
    expect(read(pod({ user: 2000 })).fields["proxy"]).toEqual({ external: true, uid: 2000, gid: 1337 });
  });

  it("leaves user and group to the preset where the container says nothing", () => {
    expect(read(pod()).fields["proxy"]).toEqual({ external: true });
  });

  it("finds a proxy that is an init container", () => {
    const sidecar = { name: "istio-proxy", restartPolicy: "Always", securityContext: { runAsUser: 7, runAsGroup: 8 } };
    const manifest = pod({ name: "other" }, { initContainers: [{ name: "istio-init" }, sidecar] });
    expect(read(manifest).fields["proxy"]).toEqual({ external: true, uid: 7, gid: 8 });
  });

  it("finds the proxy by its mesh's name, and says when it is not there", () => {
    expect(read(pod({ name: "kuma-sidecar", user: 5678, group: 5678 }), "kuma").fields["proxy"]).toMatchObject({
      uid: 5678,
    });
    expect(read(pod(), "linkerd").warnings).toEqual([expect.stringContaining("no container linkerd-proxy")]);
  });

  it.each(["true", "1", "T", "True"])("captures all DNS with ISTIO_META_DNS_CAPTURE %s", (value) => {
    const { fields } = read(pod({ env: { ISTIO_META_DNS_CAPTURE: value } }));
    expect(fields["outbound"]).toEqual({ dns: { capture: "all" } });
  });

  it("drops invalid packets with INVALID_DROP, and notes ISTIO_DUAL_STACK", () => {
    const manifest = read(pod({ env: { INVALID_DROP: "true", ISTIO_DUAL_STACK: "true" } }));
    expect(manifest.fields["dropInvalid"]).toBe(true);
    expect(manifest.dualStack).toBe(true);
    expect(read(pod({ env: { ISTIO_META_DNS_CAPTURE: "false" } }))).toMatchObject({ dualStack: false });
  });

  it("is passed over with DISABLE_ENVOY, and in the host's namespace", () => {
    expect(read(pod({ env: { DISABLE_ENVOY: "true" } })).skip).toContain("DISABLE_ENVOY");
    expect(read(pod({}, { hostNetwork: true })).skip).toContain("hostNetwork");
    expect(read(pod()).skip).toBeUndefined();
  });

  it("ignores a switch that is given by reference", () => {
    const reference = { name: "ISTIO_META_DNS_CAPTURE", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } };
    const manifest = pod({}, { containers: [{ name: "istio-proxy", env: [reference] }] });
    expect(read(manifest).fields["outbound"]).toBeUndefined();
  });
});

describe("a manifest that is wrong", () => {
  it("is told with file, line, field, value and what is allowed", () => {
    const text = `kind: Pod
metadata: {name: a}
spec:
  containers:
    - name: istio-proxy
      env:
        - name: INVALID_DROP
          value: "maybe"
`;
    expect(problems(text)).toEqual([
      'pod.yaml:8: spec.containers[0].env[0].value: INVALID_DROP: "maybe" is not true or false',
    ]);
  });

  it.each([
    ["kind: Deployment\nmetadata: {name: a}\nspec: {containers: []}", 'pod.yaml:1: kind: "Deployment" is not Pod'],
    ["kind: Pod\nspec: {containers: []}", "pod.yaml:1: metadata: is missing"],
  ])("%j is refused", (text, problem) => {
    expect(problems(text)).toContain(problem);
  });

  it("leads from a field of the workload back to the manifest", () => {
    const { locate } = read(pod({ user: 7, group: 8 }));
    expect(locate(["annotations", "traffic.sidecar.istio.io/excludeOutboundPorts"]).where).toContain(
      'metadata.annotations["traffic.sidecar.istio.io/excludeOutboundPorts"]',
    );
    expect(locate(["proxy", "uid"]).where).toContain("spec.containers[1].securityContext");
  });
});
