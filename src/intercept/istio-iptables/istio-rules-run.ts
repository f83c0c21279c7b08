// SPDX-License-Identifier: Apache-2.0
/** One run of istio-iptables on a namespace, from a checked configuration to rules in force. */
import type { Logger } from "../../util/log.ts";
import { withNetnsLock } from "../iptables/netns-lock.ts";
import type { Flavour } from "../iptables/tools.ts";
import { ISTIO_CHAIN_PREFIX } from "../istio/iptables-program.ts";
import type { SidecarConfig } from "../istio/istio-config.ts";
import { inFinalOrder } from "../istio/nft-program.ts";
import { sidecarRoutes } from "../istio/policy-routes.ts";
import { chainFacts } from "../istio/render-iptables.ts";
import { renderNft } from "../istio/render-nft.ts";
import { sidecarIptables } from "../istio/sidecar-iptables.ts";
import { sidecarNftables } from "../istio/sidecar-nftables.ts";
import { type Candidate, candidates, type Survey, survey } from "./flavour.ts";
import { applyIptables, cleanUpIptables, type RunOutcome, undoAfter } from "./iptables-run.ts";
import { IstioIptablesError } from "./istio-iptables-error.ts";
import { applyNft, cleanUpNft, nftTables } from "./nft-run.ts";
import { ensureRoutes, removeRoutes } from "./routes.ts";
import { hasTraces } from "./saved-rules.ts";
import type { TargetNamespace } from "./target.ts";

export interface IstioRulesRequest {
  readonly config: SidecarConfig;
  readonly chainPrefix: string;
  readonly reconcile: boolean;
  readonly forceApply: boolean;
  readonly nativeNftables: boolean;
  readonly flavour: Flavour | undefined;
}

/** Rules under other names than Istio's say whose they are. */
export function ruleComment(chainPrefix: string): { comment?: string } {
  return chainPrefix === ISTIO_CHAIN_PREFIX ? {} : { comment: "shunt" };
}

/** Makes rules, addresses and routes; a second equal run changes nothing. On a throw the namespace is as it was. */
export function applyIstioRules(target: TargetNamespace, request: IstioRulesRequest, log: Logger): Promise<void> {
  return withNetnsLock(
    target.lockPath,
    async () => {
      const outcome = request.nativeNftables
        ? await throughNft(target, request, log)
        : await throughIptables(target, request, log);
      try {
        const added = await ensureRoutes(target, sidecarRoutes(request.config));
        for (const what of added) log.info({ added: what }, "address or route added");
      } catch (error) {
        await undoAfter(error, outcome);
      }
      for (const detail of outcome.details) log.info({ detail }, "difference repaired");
      log.info({ change: outcome.change }, "rules are in force");
    },
    target.signal,
  );
}

async function throughIptables(target: TargetNamespace, request: IstioRulesRequest, log: Logger): Promise<RunOutcome> {
  const found = await survey(target, request.chainPrefix);
  const program = sidecarIptables(request.config, request);
  const options = {
    ...request,
    ...ruleComment(request.chainPrefix),
    enableIpv6: request.config.enableIpv6,
  };
  const choice = candidates(found, request.flavour);
  for (const [i, candidate] of choice.entries()) {
    try {
      const outcome = await applyIptables(candidate, program, options);
      log.info({ flavour: candidate.flavour }, "iptables chosen");
      await noteLeftovers(target, { ...request, found, chosen: candidate }, log);
      return outcome;
    } catch (error) {
      const isLast = i === choice.length - 1;
      // What it lacks shows when it is tried; nothing of the attempt is left.
      const code = error instanceof IstioIptablesError ? error.code : undefined;
      const lacking = code === "ERR_ISTIO_REFUSED" || code === "ERR_ISTIO_UNAVAILABLE";
      if (isLast || !lacking || candidate.hasTraces) throw error;
      log.warn({ flavour: candidate.flavour, err: error }, "iptables of this flavour can't be used, the next is tried");
    }
  }
  throw new TypeError("candidates() answers with one at least");
}

async function throughNft(target: TargetNamespace, request: IstioRulesRequest, log: Logger): Promise<RunOutcome> {
  const script = renderNft(inFinalOrder(sidecarNftables(request.config, request)), ruleComment(request.chainPrefix));
  const outcome = await applyNft(target, script, request.chainPrefix);
  await noteLeftovers(target, { ...request, found: await survey(target, request.chainPrefix), chosen: "nft" }, log);
  return outcome;
}

interface Leftovers extends IstioRulesRequest {
  readonly found: Survey;
  readonly chosen: Candidate | "nft";
}

/** Rules of Istio in another form are in force beside ours: removed only when asked. */
async function noteLeftovers(target: TargetNamespace, request: Leftovers, log: Logger): Promise<void> {
  const { chosen, found, chainPrefix, reconcile, config } = request;
  for (const candidate of found.found.filter((other) => other !== chosen && other.hasTraces)) {
    if (reconcile) await cleanUpIptables(candidate, sidecarIptables(config, request), ruleComment(chainPrefix));
    report(log, reconcile, `iptables, flavour ${candidate.flavour}`);
  }
  if (chosen === "nft") return;
  if (!config.enableIpv6) await noteIpv6(request, chosen, log);
  const tables = await nftTables(target, chainPrefix);
  if (tables.length === 0) return;
  if (reconcile) await cleanUpNft(target, chainPrefix);
  report(log, reconcile, `nftables ${tables.join(", ")}`);
}

/** Made while there was IPv6, or with --dual-stack: these flags make none, and IPv6 is captured all the same. */
async function noteIpv6(request: Leftovers, { v6, flavour }: Candidate, log: Logger): Promise<void> {
  const { chainPrefix, reconcile, config } = request;
  // Where IPv6 can't be read there are no rules.
  const saved = await v6?.read().catch(() => undefined);
  if (v6 === undefined || saved === undefined || !hasTraces(saved, chainPrefix)) return;
  if (reconcile) {
    const program = sidecarIptables({ ...config, enableIpv6: true }, request);
    await v6.cleanUp(chainFacts(program, 6, ruleComment(chainPrefix)));
  }
  report(log, reconcile, `IPv6, iptables of flavour ${flavour}`);
}

function report(log: Logger, removed: boolean, where: string): void {
  if (removed) log.info({ where }, "rules of an earlier run in another form removed");
  else log.warn({ where }, "rules of an earlier run in another form are in force too; --reconcile removes them");
}

/**
 * Removes everything with the prefix, in every flavour and as native nftables, the rules these flags make in chains of the kernel's, guardrails and the
 * policy routing of TPROXY; nothing else. ::6 stays on lo: another proxy in the namespace may use it.
 */
export function cleanUpIstioRules(target: TargetNamespace, request: IstioRulesRequest, log: Logger): Promise<void> {
  return withNetnsLock(
    target.lockPath,
    async () => {
      const { found, failures } = await survey(target, request.chainPrefix);
      // Both families, whatever the addresses say today.
      const everywhere: SidecarConfig = { ...request.config, enableIpv6: true };
      for (const candidate of found) {
        await cleanUpIptables(candidate, sidecarIptables(everywhere, request), ruleComment(request.chainPrefix));
      }
      if (!request.nativeNftables && found.length === 0) {
        throw new IstioIptablesError(
          "ERR_ISTIO_UNAVAILABLE",
          `no usable iptables: ${failures.join("; ") || "none is installed"}`,
        );
      }
      const tables = (await nftTables(target, request.chainPrefix)).length;
      if (tables > 0) await cleanUpNft(target, request.chainPrefix);
      const tproxy: SidecarConfig = { ...everywhere, interceptionMode: "TPROXY", inboundPortsInclude: "*" };
      const removed = await removeRoutes(target, sidecarRoutes(tproxy));
      log.info({ tables, routes: removed.length }, "rules removed");
    },
    target.signal,
  );
}
