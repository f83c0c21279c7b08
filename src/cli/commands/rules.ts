// SPDX-License-Identifier: Apache-2.0
import type { RulesAction, RulesBackendName, RulesReport } from "../../config/formats/rules.ts";
import type { Actions } from "../actions.ts";
import { EXIT } from "../exit-status.ts";
import type { CliIo } from "../io.ts";
import type { Invocation } from "../parse-arguments.ts";
import { formatRules } from "../rules-text.ts";
import { rulesWorkloads } from "../rules-workloads.ts";
import { UsageError } from "../usage-error.ts";

export async function runRules(
  { options, arguments: words }: Invocation,
  io: CliIo,
  actions: Actions,
): Promise<number> {
  // The table allows no other.
  const action = words[0] as RulesAction;
  const backend = options.text("--backend") as RulesBackendName | undefined;
  const istioChains = options.text("--chain-prefix") === "ISTIO";
  if (options.has("--chain-prefix") && backend !== undefined && backend !== "iptables")
    throw new UsageError(`--chain-prefix ${options.text("--chain-prefix")} is for --backend iptables, not ${backend}`);
  const removesLeftovers = options.has("--remove-leftovers");
  if (removesLeftovers && action !== "apply" && action !== "verify")
    throw new UsageError(`--remove-leftovers only with apply and verify, not with ${action}`);
  const report = await actions.rules({
    action,
    workloads: rulesWorkloads(options),
    ...(backend === undefined ? {} : { backend }),
    istioChains,
    removeLeftovers: removesLeftovers,
    onNote: (text) => void io.stderr.write(`${text}\n`),
    signal: io.signal,
  });
  io.stdout.write(options.text("--format") === "json" ? `${JSON.stringify(report, null, 2)}\n` : formatRules(report));
  for (const { name, warnings, outcome, reason } of report.workloads) {
    for (const warning of warnings) io.stderr.write(`${name}: warning: ${warning}\n`);
    if (outcome === "failed") io.stderr.write(`${name}: ${reason}\n`);
  }
  return statusOf(report);
}

function statusOf({ workloads }: RulesReport): number {
  const has = (wanted: string): boolean => workloads.some(({ outcome }) => outcome === wanted);
  if (has("failed")) return EXIT.failure;
  if (has("invalid")) return EXIT.invalid;
  return has("drifted") ? EXIT.failure : EXIT.ok;
}
