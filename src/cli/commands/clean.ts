// SPDX-License-Identifier: Apache-2.0
import type { CleanReport } from "../../config/formats/clean-report.ts";
import { AGENT_DEFAULTS } from "../../config/presets.ts";
import type { Actions } from "../actions.ts";
import { EXIT } from "../exit-status.ts";
import type { CliIo } from "../io.ts";
import type { Invocation } from "../parse-arguments.ts";
import { UsageError } from "../usage-error.ts";

export async function runClean({ options }: Invocation, io: CliIo, actions: Actions): Promise<number> {
  const name = options.text("--name");
  if (name !== undefined && options.has("--all"))
    throw new UsageError(`--name ${name} can't be used together with --all`);
  const scope = options.has("--all")
    ? { kind: "all" as const }
    : { kind: "agent" as const, name: name ?? AGENT_DEFAULTS.name };
  const report = await actions.clean({ scope });
  io.stdout.write(options.has("--json") ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report));
  return report.failed.length === 0 ? EXIT.ok : EXIT.failure;
}

function formatReport({ removed, failed }: CleanReport): string {
  if (removed.length === 0 && failed.length === 0) return "nothing to remove\n";
  const lines = [
    ...removed.map(({ kind, name }) => `removed ${kind} ${name}`),
    ...failed.map(({ kind, name, reason }) => `could not remove ${kind} ${name}: ${reason}`),
  ];
  return `${lines.join("\n")}\n`;
}
