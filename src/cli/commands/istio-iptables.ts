// SPDX-License-Identifier: Apache-2.0
/** `shunt istio-iptables`: Istio's command of that name, flag for flag. */
import { appendFileSync, writeFileSync } from "node:fs";
import type { SidecarConfig } from "../../intercept/istio/istio-config.ts";
import { parseIds } from "../../intercept/istio/parse-values.ts";
import { renderIstioDryRun } from "../../intercept/istio-iptables/dry-run.ts";
import { applyIstioRules, cleanUpIstioRules } from "../../intercept/istio-iptables/istio-rules-run.ts";
import * as pod from "../../intercept/istio-iptables/pod-surroundings.ts";
import { TargetNamespace } from "../../intercept/istio-iptables/target.ts";
import { validateIstioRules, validationPlan } from "../../intercept/istio-iptables/validate-rules.ts";
import { createLogger, type Logger, silentLogger } from "../../util/log.ts";
import { EXIT } from "../exit-status.ts";
import type { CliIo } from "../io.ts";
import type { FlagValue } from "../istio/flag-values.ts";
import type { LogSettings } from "../istio/log-settings.ts";
import { type IstioSettings, readSettings } from "../istio/settings.ts";

/** The validation failed; what istio-cni's repair controller looks for. */
const VALIDATION_FAILED = 126;

/** Undefined: help is asked for. */
export async function runIstioIptables(argv: readonly string[], io: CliIo): Promise<number | undefined> {
  const settings = readSettings(argv, process.env);
  if (settings === undefined) return undefined;
  const log = loggerOf(settings.log, io);
  for (const warning of settings.warnings) log.warn({ warning }, "environment");
  using target = new TargetNamespace({
    netnsPath: settings.networkNamespace,
    cniMode: settings.cniMode,
    signal: io.signal,
  });
  const config = completeConfig(settings, target, log);
  const request = { ...settings, config };
  if (!settings.skipRuleApply) {
    if (settings.dryRun) printDryRun(renderIstioDryRun(request, settings.cleanupOnly), settings, io);
    else if (settings.cleanupOnly) await cleanUpIstioRules(target, request, log);
    else await applyIstioRules(target, request, log);
  }
  return settings.runValidation ? validate(target, { ...settings, config }, log) : EXIT.ok;
}

function loggerOf({ level, format, target }: LogSettings, io: CliIo): Logger {
  if (level === undefined) return silentLogger;
  const write = (line: string): void => {
    if (target === "stdout") io.stdout.write(line);
    else if (target === "stderr") io.stderr.write(line);
    else appendFileSync(target, line);
  };
  return createLogger({ level, format, write }).child({ component: "istio-iptables" });
}

/** Adds what the pod says: users, families, nameservers. */
function completeConfig(settings: IstioSettings, target: TargetNamespace, log: Logger): SidecarConfig {
  const { config, proxyUid, proxyGid, envoyUser, dualStack } = settings;
  const uids: FlagValue = proxyUid ?? { text: pod.defaultProxyUid(envoyUser), origin: "--proxy-uid", from: "default" };
  // The value of -u as given, so that a user's name stands for the group of that name.
  const gids: FlagValue = proxyGid ?? { ...uids, text: pod.withIds(uids.text, "/etc/passwd") };
  const addresses = pod.interfaceAddresses(target);
  const enableIpv6 = pod.wantsIpv6(addresses, dualStack);
  if (!enableIpv6 && !settings.cleanupOnly && pod.hasGlobalIpv6(addresses)) {
    log.warn(
      {},
      "the namespace has IPv6 addresses, and IPv6 passes by the proxy: its first address is IPv4; see --dual-stack",
    );
  }
  const asksFiles = config.redirectDns && !config.captureAllDns;
  const nameservers = asksFiles ? pod.readNameservers() : { v4: [], v6: [], passedOver: [] };
  for (const nameserver of nameservers.passedOver) log.warn({ nameserver }, "nameserver is passed over");
  if (asksFiles && nameservers.v4.length + nameservers.v6.length === 0) {
    log.warn({}, "DNS is not captured: /etc/resolv.conf names no server, and --capture-all-dns is off");
  }
  return {
    ...config,
    proxyUids: parseIds(pod.withIds(uids.text, "/etc/passwd"), uids.origin),
    proxyGids: parseIds(pod.withIds(gids.text, "/etc/group"), gids.origin),
    dnsServersV4: nameservers.v4,
    dnsServersV6: nameservers.v6,
    enableIpv6,
  };
}

function printDryRun(text: string, { dryRunFile }: IstioSettings, io: CliIo): void {
  io.stdout.write(text);
  if (dryRunFile !== undefined) writeFileSync(dryRunFile, text);
}

async function validate(
  target: TargetNamespace,
  settings: Omit<IstioSettings, "config"> & { readonly config: SidecarConfig },
  log: Logger,
): Promise<number> {
  const { probes, untestable } = validationPlan(settings.config, settings.probePort);
  for (const reason of untestable) log.warn({ reason }, "validation leaves a family out");
  const failures = probes.length === 0 ? ["nothing can be tested with these settings"] : [];
  try {
    const results = await validateIstioRules(target, settings.config, { probes, timeoutMs: settings.probeTimeoutMs });
    for (const { family, ok, port, reason } of results) {
      if (ok) log.info({ family, port: port ?? "of a running proxy" }, "validation: connection intercepted");
      else failures.push(`IPv${family}: ${reason}`);
    }
  } catch (error) {
    target.signal?.throwIfAborted();
    failures.push((error as Error).message);
  }
  if (failures.length === 0) return EXIT.ok;
  log.error({ failures }, "validation failed: the rules are not in force in this namespace, the workload is not ready");
  return VALIDATION_FAILED;
}
