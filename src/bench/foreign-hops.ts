// SPDX-License-Identifier: Apache-2.0
/** HAProxy, nginx and Envoy in the place of our proxy. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Belongings } from "./belongings.ts";
import { BenchError } from "./bench-error.ts";
import type { Program } from "./find-proxies.ts";
import { type ForeignRole, foreignConfig, nginxPort } from "./foreign-configs.ts";
import type { Hops } from "./hops.ts";
import { makeCgroup, type Place } from "./place.ts";
import type { Processes, Surroundings } from "./processes.ts";
import { applyRules, type Redirection, redirected } from "./redirect-rules.ts";
import type { Route } from "./scenario.ts";
import { SERVICES } from "./servers.ts";
import { ShuntAgent } from "./shunt-agent.ts";

/** Users the proxies run as, by which rules and programs know their connections. */
const FIRST_USER = 1337;
const SECOND_USER = 1338;
const FIRST_PORT = 15_001;
const SECOND_PORT = 15_011;
const INBOUND_PORT = 15_006;

export interface ForeignSettings {
  readonly folder: string;
  readonly program: Program | undefined;
}

/** Why a proxy cannot be on a path; undefined where it can. */
export function whyNot({ path, proxy }: Route): string | undefined {
  if (proxy === "nginx" && path === "ebpf") return "nginx does not ask where a connection was meant to go";
  return undefined;
}

export async function startForeignProxies(
  processes: Processes,
  route: Route,
  place: Place,
  { folder, program }: ForeignSettings,
  own: Belongings,
): Promise<Hops> {
  if (program === undefined) throw new BenchError("ERR_BENCH_PLAN", `${route.proxy} is not there`);
  const start: Start = (netns, user, role, cgroup) => {
    const where = { netns, user, ...(cgroup === undefined ? {} : { cgroup }) };
    return startProxy(processes, program, { where, role, file: join(folder, `${netns}-${user}.yaml`) }, own);
  };
  return route.path === "iptables"
    ? byRules(processes, route, place, program, start)
    : byPrograms(
        route,
        place,
        start,
        async (workloads) => {
          const file = { mode: "ebpf", workloads };
          return own.use(await ShuntAgent.start(processes, { name: place.name, folder, file }));
        },
        own,
      );
}

type Start = (netns: string, user: number, role: ForeignRole, cgroup?: string) => Promise<void>;

async function byRules(
  processes: Processes,
  { proxies }: Route,
  { topology, client, server }: Place,
  program: Program,
  start: Start,
): Promise<Hops> {
  const portsTo = (base: number): Redirection["ports"] =>
    SERVICES.map(({ port }, service) => [port, program.name === "nginx" ? nginxPort(base, service) : base]);
  await start(client, FIRST_USER, { outbound: FIRST_PORT });
  if (proxies === 2) await start(server, SECOND_USER, { outbound: SECOND_PORT });
  const chained = topology === "loopback" && proxies === 2;
  const second: Redirection = { chain: "OUTPUT", user: FIRST_USER, ports: portsTo(SECOND_PORT) };
  const first: Redirection = {
    chain: "OUTPUT",
    except: chained ? [FIRST_USER, SECOND_USER] : [FIRST_USER],
    ports: portsTo(FIRST_PORT),
  };
  await applyRules(processes, client, chained ? [first, second] : [first]);
  const arriving: Redirection = { chain: "PREROUTING", ports: portsTo(SECOND_PORT) };
  if (proxies === 2 && !chained) await applyRules(processes, server, [arriving]);
  const namespaces = [...new Set([client, server])];
  return {
    passed: async () => {
      const counts = await Promise.all(namespaces.map((netns) => redirected(processes, netns)));
      return counts.reduce((sum, count) => sum + count, 0);
    },
  };
}

async function byPrograms(
  { proxies }: Route,
  place: Place,
  start: Start,
  startAgent: (workloads: readonly object[]) => Promise<ShuntAgent>,
  own: Belongings,
): Promise<Hops> {
  const { topology, client, server } = place;
  const off = { enabled: false };
  const known = (user: number): object => ({ external: true, uid: user, gid: user });
  const outbound = { captureLocal: true };
  if (topology === "loopback" && proxies === 2) {
    // What a proxy that is known by its user sends to its own pod does not come in again: the second one takes it going
    // out. SO_ORIGINAL_DST is answered within a workload's cgroup, so each proxy is in that of whom it serves.
    const apps = makeCgroup(`${place.name}-app`, own);
    const first = makeCgroup(`${place.name}-app/first`, own);
    await start(client, FIRST_USER, { outbound: FIRST_PORT }, first);
    await start(client, SECOND_USER, { outbound: SECOND_PORT }, first);
    const common = { netns: client, inbound: off };
    const agent = await startAgent([
      { ...common, name: "first", cgroup: apps, proxy: known(FIRST_USER), outbound },
      {
        ...common,
        name: "second",
        cgroup: first,
        proxy: known(SECOND_USER),
        outbound: { ...outbound, port: SECOND_PORT },
      },
    ]);
    return { passed: async () => capturedBy(await agent.status()), clientCgroup: apps };
  }
  await start(client, FIRST_USER, { outbound: FIRST_PORT });
  const workloads: object[] = [{ name: "client", netns: client, proxy: known(FIRST_USER), outbound, inbound: off }];
  if (proxies === 2) {
    await start(server, FIRST_USER, { inbound: INBOUND_PORT });
    workloads.push({ name: "server", netns: server, proxy: known(FIRST_USER), outbound: off });
  }
  const agent = await startAgent(workloads);
  return { passed: async () => capturedBy(await agent.status()) };
}

/** Verdicts that led to a proxy. */
function capturedBy({ workloads }: Awaited<ReturnType<ShuntAgent["status"]>>): number {
  const counts = workloads.flatMap(({ counters }) => [counters.outbound, counters.inbound]);
  const captured = ["port-included", "cidr-included", "all-included"];
  return counts.reduce((sum, reasons) => sum + captured.reduce((more, reason) => more + (reasons[reason] ?? 0), 0), 0);
}

interface ProxySettings {
  readonly where: Surroundings;
  readonly role: ForeignRole;
  readonly file: string;
}

async function startProxy(
  processes: Processes,
  program: Program,
  { where, role, file }: ProxySettings,
  own: Belongings,
): Promise<void> {
  const { text, args } = foreignConfig(program, role, file);
  writeFileSync(file, text, { mode: 0o644 });
  const serving = own.use(processes.start([program.command, ...args], "TERM", { ...where, env: program.env }));
  const base = role.outbound ?? 0;
  const ports = program.name === "nginx" ? SERVICES.map((_, service) => nginxPort(base, service)) : Object.values(role);
  await serving.until(() => ports.every((port) => listensOn(serving.pid, port)), `listener on ${ports.join(", ")}`);
}

/** Whether anybody in the network namespace of a process listens on a port of all IPv4 addresses. */
function listensOn(pid: number, port: number): boolean {
  const local = `00000000:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  try {
    return readFileSync(`/proc/${pid}/net/tcp`, "utf8").includes(`${local} 00000000:0000 0A`);
  } catch {
    return false; // it has ended, which is told elsewhere
  }
}
