// SPDX-License-Identifier: Apache-2.0
/** A Kubernetes Pod manifest as far as interception is concerned, read as the meshes' own CNI plug-ins read it. */
import { z } from "zod";
import type { PresetName } from "./presets.ts";
import { type FieldPath, type Locate, type Parsed, type Problem, problemAt, problemsOf } from "./problem.ts";
import { readYaml } from "./yaml-source.ts";

const environment = z.array(z.object({ name: z.string(), value: z.string().optional() })).optional();
const id = z.int().min(0).max(4_294_967_294).optional();
const container = z.object({
  name: z.string(),
  env: environment,
  securityContext: z.object({ runAsUser: id, runAsGroup: id }).nullish(),
});

/** Everything else of a manifest is somebody else's business. */
const podSchema = z.object({
  kind: z.literal("Pod", { error: ({ input }) => `${JSON.stringify(input)} is not Pod` }),
  metadata: z.object({
    name: z.string().min(1),
    namespace: z.string().min(1).optional(),
    annotations: z.record(z.string(), z.string()).nullish(),
  }),
  spec: z.object({
    hostNetwork: z.boolean().optional(),
    initContainers: z.array(container).nullish(),
    containers: z.array(container),
  }),
});

type Pod = z.infer<typeof podSchema>;
type Container = z.infer<typeof container>;

/** What the proxy's container is called in each mesh. */
const PROXY_CONTAINERS: Readonly<Record<PresetName, string | undefined>> = {
  istio: "istio-proxy",
  kuma: "kuma-sidecar",
  linkerd: "linkerd-proxy",
  osm: "envoy",
  all: undefined,
};

/** User and group that stand for "the proxy's own" where the container runs as root: Istio's CNI plug-in reads 0 so. */
const SIDECAR_ID = 1337;

export interface PodManifest {
  /** `namespace.name`, or the name alone. */
  readonly name: string;
  /** Fields of a workload as a configuration file writes them; without name and target. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Why nothing of this pod is to be intercepted. */
  readonly skip?: string;
  /** ISTIO_DUAL_STACK: of no effect but with Istio's own rules, because ours are always made for both families. */
  readonly dualStack: boolean;
  readonly warnings: readonly string[];
  /** Where a field of `fields` comes from. */
  readonly locate: Locate;
}

/** `text` is YAML or JSON; `file` is the name that problems carry. */
export function parsePod(text: string, file: string, preset: PresetName): Parsed<PodManifest> {
  const source = readYaml(text, file);
  if (!source.ok) return source;
  const { data, locate } = source.value;
  const parsed = podSchema.safeParse(data, { reportInput: true });
  if (!parsed.success) return { ok: false, problems: problemsOf(parsed.error, podSchema, locate) };
  return readPod(parsed.data, preset, locate);
}

interface Proxy {
  readonly path: FieldPath;
  readonly container: Container;
}

function readPod(pod: Pod, preset: PresetName, locate: Locate): Parsed<PodManifest> {
  const proxy = proxyOf(pod, preset);
  const problems: Problem[] = [];
  const asks = (name: string): boolean => {
    const env = proxy?.container.env ?? [];
    // As the kubelet has it, the last one of a name counts. One without a value comes from elsewhere.
    const at = env.findLastIndex((entry) => entry.name === name && entry.value !== undefined);
    const value = env[at]?.value ?? "false";
    const answer = parseBool(value);
    if (answer !== undefined) return answer;
    const path = [...(proxy?.path ?? []), "env", at, "value"];
    problems.push(problemAt(path, `${name}: ${JSON.stringify(value)} is not true or false`, locate));
    return false;
  };
  const dns = asks("ISTIO_META_DNS_CAPTURE");
  const dropInvalid = asks("INVALID_DROP");
  const disabled = asks("DISABLE_ENVOY");
  const dualStack = asks("ISTIO_DUAL_STACK");
  if (problems.length > 0) return { ok: false, problems };
  const skip = pod.spec.hostNetwork
    ? "the pod is in the network namespace of its host (spec.hostNetwork)"
    : disabled
      ? `DISABLE_ENVOY is set in container ${proxy?.container.name}`
      : undefined;
  const { name, namespace, annotations } = pod.metadata;
  return {
    ok: true,
    value: {
      name: namespace === undefined ? name : `${namespace}.${name}`,
      fields: {
        ...(annotations ? { annotations } : {}),
        proxy: { external: true, ...identityOf(proxy?.container) },
        ...(dns ? { outbound: { dns: { capture: "all" } } } : {}),
        ...(dropInvalid ? { dropInvalid: true } : {}),
      },
      ...(skip === undefined ? {} : { skip }),
      dualStack,
      warnings: proxy === undefined ? withoutProxy(preset) : [],
      locate: (path) => locate(toManifest(path, proxy)),
    },
  };
}

/** A sidecar is a container or, on newer clusters, an init container that keeps running. */
function proxyOf({ spec }: Pod, preset: PresetName): Proxy | undefined {
  const name = PROXY_CONTAINERS[preset];
  for (const list of ["containers", "initContainers"] as const) {
    const index = spec[list]?.findIndex((one) => one.name === name) ?? -1;
    const found = spec[list]?.[index];
    if (found) return { path: ["spec", list, index], container: found };
  }
  return undefined;
}

function withoutProxy(preset: PresetName): string[] {
  const name = PROXY_CONTAINERS[preset];
  return name === undefined
    ? []
    : [`the pod has no container ${name}: the proxy's user and group are ${preset}'s defaults`];
}

function identityOf(proxy: Container | undefined): { uid?: number; gid?: number } {
  const { runAsUser, runAsGroup } = proxy?.securityContext ?? {};
  const given = (value: number): number => (value === 0 ? SIDECAR_ID : value);
  if (runAsUser === undefined && runAsGroup === undefined) return {};
  return { uid: given(runAsUser ?? SIDECAR_ID), gid: given(runAsGroup ?? SIDECAR_ID) };
}

/** Go's strconv.ParseBool, by which the meshes read their switches. */
function parseBool(text: string): boolean | undefined {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(text) ? false : undefined;
}

function toManifest([field, ...rest]: FieldPath, proxy: Proxy | undefined): FieldPath {
  if (field === "annotations") return ["metadata", field, ...rest];
  return field === "proxy" && proxy ? [...proxy.path, "securityContext"] : (proxy?.path ?? []);
}
