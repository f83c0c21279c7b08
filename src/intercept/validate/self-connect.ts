// SPDX-License-Identifier: Apache-2.0
/** Proves from inside a network namespace that connections are intercepted: by making one that must be. */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { createRequire } from "node:module";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { loadAddon } from "../../native/load-addon.ts";
import type { ProbeClientReport, ProbeClientRequest } from "./probe-client.ts";
import { ProbeListeners } from "./probe-listeners.ts";
import { ValidationError } from "./validation-error.ts";

export interface SelfConnectProbe {
  readonly family: 4 | 6;
  readonly source: string;
  /** Where nobody else may be listening: an answer from there means that the connection was left alone. */
  readonly address: string;
  readonly port: number;
}

/** Where a connection meant to go before it was intercepted; undefined when nothing is known of it. */
export type OriginalOf = (fd: number, family: 4 | 6) => { readonly address: string; readonly port: number } | undefined;

export interface SelfConnectOptions {
  /** Absent: the caller's own namespace, for which no privilege is needed. */
  readonly netns?: { readonly path: string; readonly fd: number } | undefined;
  /** One for each family. */
  readonly probes: readonly SelfConnectProbe[];
  /** Ports of the proxy on 127.0.0.1 and ::1; those that nobody listens on are listened on meanwhile. */
  readonly ports: readonly number[];
  /** Who connects; needs root. Absent: the caller. */
  readonly identity?: { readonly uid: number; readonly gid: number } | undefined;
  /** Absent: conntrack's answer, which is that of rules. */
  readonly originalOf?: OriginalOf;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface SelfConnectResult {
  readonly family: 4 | 6;
  readonly ok: boolean;
  /** The proxy's port it arrived on; absent where a proxy that runs already took it. */
  readonly port?: number;
  /** Why not: what the last attempt met. */
  readonly reason?: string;
}

const INTERVAL_MS = 250;
const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;

/**
 * Tries again and again until every probe has arrived or the time is up. Rejects with a ValidationError when the test
 * can't be made, and with the signal's reason.
 */
export async function selfConnect(options: SelfConnectOptions): Promise<readonly SelfConnectResult[]> {
  const { probes, signal } = options;
  signal?.throwIfAborted();
  if (probes.length === 0) return [];
  const events = new EventEmitter<{ done: []; error: [Error] }>();
  const verdicts = probes.map((probe) => new Verdict(probe));
  const settled = (): void => void (verdicts.every(({ port }) => port !== undefined) && events.emit("done"));
  using listeners = new ProbeListeners(options.netns?.fd);
  for (const verdict of verdicts) verdict.listen(listeners, options, settled);
  const child = startClient(options);
  child.once("error", (error) => events.emit("error", clientError(error.message, error)));
  // One that may not become the proxy's user says so and ends.
  child.once(
    "exit",
    (status, by) => status !== 0 && events.emit("error", clientError(`ended with ${by ?? `status ${status}`}`)),
  );
  createInterface({ input: child.stdout ?? process.stdin }).on("line", (line) => {
    const { family, error } = JSON.parse(line) as ProbeClientReport;
    const verdict = verdicts.find((v) => v.probe.family === family);
    // What arrived at a listener of ours is told by the same turn of the loop, after this.
    setImmediate(() => setImmediate(() => (verdict?.noteAttempt(error), settled())));
  });
  const timeout = AbortSignal.timeout(options.timeoutMs);
  try {
    await once(events, "done", { signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]) });
  } catch (error) {
    signal?.throwIfAborted();
    if (!timeout.aborted) throw error;
  } finally {
    child.removeAllListeners();
    child.kill("SIGKILL");
  }
  return verdicts.map((verdict) => verdict.result());
}

/** What is known of one family's probe. */
class Verdict {
  readonly probe: SelfConnectProbe;
  /** Where it arrived; "busy": at a proxy that was there before us. */
  port: number | "busy" | undefined;
  #reason = "no connection came about";
  #leftAlone = false;
  #hasBusyPort = false;

  constructor(probe: SelfConnectProbe) {
    this.probe = probe;
  }

  listen(
    listeners: ProbeListeners,
    { ports, originalOf = conntrackOriginal }: SelfConnectOptions,
    settled: () => void,
  ): void {
    const { family, address, port } = this.probe;
    for (const proxyPort of new Set(ports)) {
      const state = listeners.listen({ address: LOOPBACK[family], port: proxyPort }, (fd) => {
        const meant = originalOf(fd, family);
        if (meant?.address === address && meant.port === port) this.port = proxyPort;
        else
          this.#reason = `arrived on port ${proxyPort}, meant for ${meant ? `${meant.address} port ${meant.port}` : "an unknown place"}`;
        settled();
      });
      if (state === "busy") this.#hasBusyPort = true;
      if (state === "no-address") this.#reason = `the namespace has no address ${LOOPBACK[family]}`;
    }
    const trap = listeners.listen({ address, port }, () => void (this.#leftAlone = true));
    // Without the address (::6 is not there) nothing can get to it either.
    if (trap !== "busy") return;
    throw new ValidationError(
      "ERR_VALIDATE_PORT_BUSY",
      `somebody listens on ${address} port ${port}, so that an answer from there would prove nothing: use another probe port`,
    );
  }

  noteAttempt(error: string | undefined): void {
    if (error !== undefined) this.#reason = `${error} (${this.probe.address} port ${this.probe.port})`;
    else if (this.#leftAlone)
      this.#reason = `the connection went to ${this.probe.address} port ${this.probe.port} itself`;
    // Nobody listens where it was going, and none of ours took it.
    else if (this.#hasBusyPort) this.port ??= "busy";
    this.#leftAlone = false;
  }

  result(): SelfConnectResult {
    const { family } = this.probe;
    if (this.port === undefined) return { family, ok: false, reason: this.#reason };
    return { family, ok: true, ...(this.port !== "busy" && { port: this.port }) };
  }
}

function conntrackOriginal(fd: number, family: 4 | 6): ReturnType<OriginalOf> {
  const found = loadAddon().originalDestination(fd, family);
  return typeof found === "number" ? undefined : found;
}

function clientError(what: string, cause?: unknown): ValidationError {
  return new ValidationError("ERR_VALIDATE_CLIENT", `the connecting process: ${what}`, { cause });
}

function startClient({ netns, probes, identity }: SelfConnectOptions): ChildProcess {
  const extension = extname(import.meta.url);
  const file = fileURLToPath(new URL(`./probe-client${extension}`, import.meta.url));
  // From src (tsx, vitest) the child must be taught TypeScript.
  const loader = extension === ".ts" ? ["--import", createRequire(import.meta.url).resolve("tsx")] : [];
  const request: ProbeClientRequest = { probes, ...identity, intervalMs: INTERVAL_MS };
  const enter = netns === undefined ? [] : ["nsenter", `--net=${netns.path}`, "--"];
  const [program, ...args] = [...enter, process.execPath, ...loader, file, JSON.stringify(request)];
  return spawn(program, args, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, NODE_OPTIONS: "" } });
}
