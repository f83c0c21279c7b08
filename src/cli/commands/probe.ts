// SPDX-License-Identifier: Apache-2.0
import type { ContractReport, ProbeReport } from "../../config/formats/probe.ts";
import type { Actions } from "../actions.ts";
import { EXIT } from "../exit-status.ts";
import type { CliIo } from "../io.ts";
import type { Invocation } from "../parse-arguments.ts";
import { formatTable } from "../table.ts";

export async function runProbe({ options }: Invocation, io: CliIo, actions: Actions): Promise<number> {
  const cgroupRoot = options.text("--cgroup-root");
  const contract = options.has("--contract");
  const report = await actions.probeMachine({ contract, ...(cgroupRoot !== undefined && { cgroupRoot }) });
  io.stdout.write(options.has("--json") ? `${JSON.stringify(report, null, 2)}\n` : formatProbe(report));
  return report.mode === "none" ? EXIT.unavailable : EXIT.ok;
}

function formatProbe(report: ProbeReport): string {
  const facts = formatTable(undefined, [
    ["mode", report.mode],
    ["outbound", report.outbound],
    ["inbound", report.inbound],
    ["original destination", report.originalDestination],
    ["tier", report.tier ?? "none"],
    ["reason", report.reason],
    ...(report.contract === undefined ? [] : [["acceleration", report.contract.acceleration]]),
  ]);
  const features = Object.entries(report.features).map(([name, { ok, reason }]) => [
    name,
    ok ? "yes" : "no",
    reason ?? "",
  ]);
  const foreign = (report.foreignPrograms ?? []).map((program) => [
    program.hook,
    program.cgroup,
    String(program.order),
    `${program.name} (${program.id})${program.exclusive ? ", exclusive" : ""}`,
  ]);
  const sections = [facts, formatTable(["FEATURE", "HERE", "WHY NOT"], features)];
  if (foreign.length > 0) sections.push(formatTable(["HOOK", "CGROUP", "ORDER", "FOREIGN PROGRAM"], foreign));
  const { packetPolicies = [] } = report;
  if (packetPolicies.length > 0) {
    const rows = packetPolicies.map(({ kind, where }) => [kind, where]);
    sections.push(formatTable(["PACKET POLICY", "WHERE"], rows));
  }
  if (report.contract !== undefined) sections.push(formatContract(report.contract));
  return sections.join("\n");
}

function formatContract({ behaviours }: ContractReport): string {
  const rows = Object.entries(behaviours).map(([name, { verdict, detail }]) => [name, verdict, detail]);
  return formatTable(["BEHAVIOUR", "VERDICT", "SEEN"], rows);
}
