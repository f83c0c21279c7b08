// SPDX-License-Identifier: Apache-2.0
/** Istio's own chains by the interface of a back-end: for one specification, which its generator needs for everything. */

import type { Logger } from "../../util/log.ts";
import type { Applied, Backend, Drift, Rendered } from "../backend.ts";
import { specToSidecar } from "../istio/from-spec.ts";
import { ISTIO_CHAIN_PREFIX } from "../istio/iptables-program.ts";
import type { SidecarConfig } from "../istio/istio-config.ts";
import { chainFacts, renderRestore } from "../istio/render-iptables.ts";
import { sidecarIptables } from "../istio/sidecar-iptables.ts";
import type { InterceptSpec } from "../spec.ts";
import { candidates, survey } from "./flavour.ts";
import { applyIstioRules, cleanUpIstioRules, type IstioRulesRequest } from "./istio-rules-run.ts";
import { nftTables } from "./nft-run.ts";
import { hasGlobalIpv6, interfaceAddresses, wantsIpv6 } from "./pod-surroundings.ts";
import { tableStates } from "./table-state.ts";
import { TargetNamespace } from "./target.ts";

export interface IstioChains
  extends Pick<Backend<SidecarConfig>, "name" | "plan" | "render" | "apply" | "verify" | "remove" | "findOurs"> {}

/** `dualStack`: IPv6 counts whichever family the first address of the namespace is of, as Istio's --dual-stack has it. */
export function istioChains(spec: InterceptSpec, dualStack: boolean, log: Logger): IstioChains {
  return {
    name: "iptables",
    plan: (planned) => specToSidecar(planned, true),
    render,

    async apply(planned, options): Promise<Applied> {
      using target = targetOf(planned, options?.signal);
      const { config, warnings } = configure(planned, target, dualStack);
      const changed = (await driftIn(target, config)).length > 0;
      await applyIstioRules(target, request(config), log);
      return { name: planned.name, netnsPath: target.lockPath, warnings, changed };
    },

    async verify(planned, signal): Promise<readonly Drift[]> {
      using target = targetOf(planned, signal);
      return driftIn(target, configure(planned, target, dualStack).config);
    },

    async remove(_netnsPath, _name, signal): Promise<boolean> {
      using target = targetOf(spec, signal);
      const had = await isThere(target);
      if (had) await cleanUpIstioRules(target, request(specToSidecar(spec, true)), log);
      return had;
    },

    /** Istio's chains carry no name: whatever is there is this workload's. */
    async findOurs(_netnsPath, signal): Promise<readonly string[]> {
      using target = targetOf(spec, signal);
      return (await isThere(target)) ? [spec.name] : [];
    },
  };
}

function render(config: SidecarConfig): readonly Rendered[] {
  const program = sidecarIptables(config, { chainPrefix: ISTIO_CHAIN_PREFIX });
  return ([4, 6] as const).map((family) => ({
    title: `IPv${family} rules`,
    command: [family === 4 ? "iptables-restore" : "ip6tables-restore", "--noflush"],
    text: renderRestore(program, family),
  }));
}

function targetOf({ target }: InterceptSpec, signal: AbortSignal | undefined): TargetNamespace {
  const netnsPath = target.kind === "netns" ? target.path : target.netnsPath;
  return new TargetNamespace({ netnsPath, cniMode: false, signal });
}

function configure(spec: InterceptSpec, target: TargetNamespace, dualStack: boolean) {
  const addresses = interfaceAddresses(target);
  const enableIpv6 = wantsIpv6(addresses, dualStack);
  const passesBy = !enableIpv6 && hasGlobalIpv6(addresses);
  return {
    config: specToSidecar(spec, enableIpv6),
    warnings: passesBy
      ? [
          "IPv6 passes by the proxy, as with Istio: the first address of the namespace is IPv4, and ISTIO_DUAL_STACK is not set",
        ]
      : [],
  };
}

function request(config: SidecarConfig): IstioRulesRequest {
  return {
    config,
    chainPrefix: ISTIO_CHAIN_PREFIX,
    reconcile: true,
    forceApply: false,
    nativeNftables: false,
    flavour: undefined,
  };
}

async function driftIn(target: TargetNamespace, config: SidecarConfig): Promise<Drift[]> {
  const [candidate] = candidates(await survey(target, ISTIO_CHAIN_PREFIX), undefined);
  const program = sidecarIptables(config, { chainPrefix: ISTIO_CHAIN_PREFIX });
  const families =
    candidate === undefined ? [] : [candidate.v4, ...(config.enableIpv6 && candidate.v6 ? [candidate.v6] : [])];
  const drifts: Drift[] = [];
  for (const rules of families) {
    const facts = chainFacts(program, rules.family);
    for (const state of await tableStates(rules, await rules.read(), facts, ISTIO_CHAIN_PREFIX))
      drifts.push(...state.drifts);
  }
  return drifts;
}

async function isThere(target: TargetNamespace): Promise<boolean> {
  const { found } = await survey(target, ISTIO_CHAIN_PREFIX);
  return found.some(({ hasTraces }) => hasTraces) || (await nftTables(target, ISTIO_CHAIN_PREFIX)).length > 0;
}
