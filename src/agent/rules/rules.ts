// SPDX-License-Identifier: Apache-2.0
/** `shunt rules`: what the agent does for a workload, by hand, and without anybody who stays. */
import type { RulesOptions, RulesWorkload } from "../../config/command-options.ts";
import type { RulesBackendName, RulesReport, WorkloadReport } from "../../config/formats/rules.ts";
import { formatTarget } from "../../config/model.ts";
import type { Backend, Drift } from "../../intercept/backend.ts";
import { BACKENDS } from "../../intercept/backends.ts";
import { istioChains } from "../../intercept/istio-iptables/rules-backend.ts";
import type { InterceptSpec } from "../../intercept/spec.ts";
import { silentLogger } from "../../util/log.ts";
import { requirePrivileges } from "../require-privileges.ts";
import { resolveTarget } from "../target.ts";
import { agentWithPrograms } from "./agent-holding.ts";
import { chooseBackend } from "./choose-backend.ts";
import { HandScope } from "./hand-scope.ts";
import { handSpec } from "./hand-spec.ts";
import { findLeftovers, foreignLeftovers, removeLeftovers } from "./leftovers.ts";
import { netnsPathOf } from "./netns-path.ts";
import { addressDrift, addressPart } from "./passthrough-part.ts";
import { removeWorkload } from "./remove-workload.ts";
import { validate } from "./validate.ts";

/** One workload with everything that is decided before anything is done. */
interface Job {
  readonly workload: RulesWorkload;
  readonly spec: InterceptSpec;
  readonly name: RulesBackendName;
  readonly backend: Pick<Backend, "plan" | "render" | "apply" | "verify" | "findOurs">;
  readonly plan: unknown;
}

type Result = Pick<WorkloadReport, "outcome"> & Partial<WorkloadReport>;

/** What fails before anything is done is thrown; what fails for one workload is told in its report. */
export async function rules(options: RulesOptions): Promise<RulesReport> {
  const { action, signal } = options;
  if (action !== "plan") requirePrivileges(`rules ${action}`);
  const wanted = options.workloads.filter(({ skip }) => skip === undefined);
  if (action === "remove") return report(options, (workload) => removeWorkload(workload, options));
  const specs = new Map(wanted.map((workload) => [workload, handSpec(workload)]));
  const jobs = new Map<RulesWorkload, Job>();
  for (const [workload, spec] of specs) jobs.set(workload, await prepare(workload, spec, options));
  return report(options, async (workload) => {
    const job = jobs.get(workload);
    if (!job) throw new TypeError(`workload ${workload.config.name} has not been prepared`);
    const result = await perform(job, options, signal);
    return { backend: job.name, ...result };
  });
}

async function report(
  { action, workloads, signal }: RulesOptions,
  work: (workload: RulesWorkload) => Promise<Result>,
): Promise<RulesReport> {
  const reports: WorkloadReport[] = [];
  for (const workload of workloads) {
    const { config, skip } = workload;
    const common = { name: config.name, target: formatTarget(config.target), warnings: workload.warnings.slice() };
    if (skip !== undefined) {
      reports.push({ ...common, outcome: "skipped", reason: skip });
      continue;
    }
    try {
      const result = await work(workload);
      reports.push({ ...common, ...result, warnings: [...common.warnings, ...(result.warnings ?? [])] });
    } catch (error) {
      if (signal.aborted) throw error;
      reports.push({ ...common, outcome: "failed", reason: error instanceof Error ? error.message : String(error) });
    }
  }
  return { action, workloads: reports };
}

async function prepare(workload: RulesWorkload, spec: InterceptSpec, options: RulesOptions): Promise<Job> {
  const name = options.istioChains ? "iptables" : await backendFor(workload, spec, options);
  const backend = options.istioChains ? istioChains(spec, workload.dualStack, silentLogger) : BACKENDS[name];
  return { workload, spec, name, backend, plan: backend.plan(spec) };
}

async function backendFor(
  workload: RulesWorkload,
  spec: InterceptSpec,
  { action, backend, onNote, signal }: RulesOptions,
): Promise<RulesBackendName> {
  if (backend !== undefined) return backend;
  const chosen = await chooseBackend(action, workload, spec, signal);
  onNote(`${spec.name}: back-end ${chosen.backend}: ${chosen.why}`);
  return chosen.backend;
}

function perform(job: Job, options: RulesOptions, signal: AbortSignal): Promise<Result> {
  switch (options.action) {
    case "plan":
      return Promise.resolve(showPlan(job));
    case "apply":
      return apply(job, options, signal);
    case "verify":
      return verify(job, options, signal);
    case "validate":
      return validateJob(job, signal);
    case "remove":
      throw new TypeError("remove needs no plan");
    default:
      return options.action satisfies never;
  }
}

function showPlan({ backend, plan, spec }: Job): Result {
  const parts = [...addressPart(spec), ...backend.render(plan)];
  return {
    outcome: "planned",
    warnings: warningsOf(plan),
    parts: parts.map(({ title, command, text }) => ({ title, command: [...command], text })),
  };
}

/** Plans of every back-end but Istio's have them. */
function warningsOf(plan: unknown): string[] {
  const { warnings = [] } = plan as { readonly warnings?: readonly string[] };
  return [...warnings];
}

async function apply(
  { workload, backend, name, spec }: Job,
  options: RulesOptions,
  signal: AbortSignal,
): Promise<Result> {
  const { istioChains: istio } = options;
  const { netns, key } = resolveTarget(workload.config.target);
  using _netns = netns;
  using scope = new HandScope(netns, spec.name, key);
  const path = netnsPathOf(spec);
  const held = (await backend.findOurs(path, signal)).includes(spec.name);
  const drift = held ? [...(await backend.verify(spec, signal)), ...addressDrift(spec, netns)] : [];
  const added = spec.inbound !== undefined && scope.addAddress();
  try {
    const applied = await backend.apply(spec, { signal });
    scope.note(name);
    const changed = applied.changed || added;
    const question = { spec, backend: name, istioChains: istio, signal };
    const leftovers = options.removeLeftovers ? await removeLeftovers(question) : await findLeftovers(question);
    return {
      outcome: !changed ? "unchanged" : held ? "updated" : "applied",
      warnings: [...applied.warnings],
      ...(drift.length > 0 ? { drift: drift.map(plain) } : {}),
      leftovers,
    };
  } catch (error) {
    if (!held && added) {
      scope.removeAddress();
      scope.forget();
    }
    throw error;
  }
}

async function verify(
  { workload, backend, name, spec }: Job,
  options: RulesOptions,
  signal: AbortSignal,
): Promise<Result> {
  const agent = name === "ebpf" ? agentWithPrograms(workload.config.target) : undefined;
  if (agent !== undefined) {
    const reason = `${agent}, has the workload by eBPF, and tells by its status of what differs: shunt status`;
    return { outcome: "failed", reason, leftovers: await foreignLeftovers(spec, options.removeLeftovers, signal) };
  }
  const { netns } = resolveTarget(workload.config.target);
  using _netns = netns;
  const drift = [...(await backend.verify(spec, signal)), ...addressDrift(spec, netns)];
  const question = { spec, backend: name, istioChains: options.istioChains, signal };
  const leftovers = options.removeLeftovers ? await removeLeftovers(question) : await findLeftovers(question);
  return {
    outcome: drift.length === 0 ? "as-planned" : "drifted",
    drift: drift.map(plain),
    leftovers,
  };
}

async function validateJob({ name, spec }: Job, signal: AbortSignal): Promise<Result> {
  const { connections, untested } = await validate(spec, name, signal);
  const ok = connections.length > 0 && connections.every((connection) => connection.ok);
  return { outcome: ok ? "valid" : "invalid", connections: [...connections], untested: [...untested] };
}

function plain({ expected, actual, ...rest }: Drift): NonNullable<WorkloadReport["drift"]>[number] {
  return { ...rest, expected: [...expected], actual: [...actual] };
}
