// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ExecError, type RunResult, run } from "../../util/exec.ts";
import { NetworkNamespace, OWN_NETNS } from "../network-namespace.ts";
import { IstioIptablesError } from "./istio-iptables-error.ts";

export interface TargetOptions {
  /** Absent: the caller's own namespace, for which no privilege beyond CAP_NET_ADMIN is needed. */
  readonly netnsPath?: string | undefined;
  /**
   * The file system is the host's: its xtables lock is everybody's on the node, and its user database may ask the
   * network, so that programs get a mount namespace with a lock of their own and without name services.
   */
  readonly cniMode: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** No program that is run here has a reason to take longer. */
const TIMEOUT_MS = 60_000;

/** The sandbox is made with best effort: SELinux and others may forbid mounts, and the rules are made all the same. */
const SANDBOX = [
  'mount --bind "$1" /run/xtables.lock 2>/dev/null',
  "mount --bind /dev/null /etc/nsswitch.conf 2>/dev/null",
  'shift; exec "$@"',
].join("; ");

/** The network namespace that is worked on, and how programs are run in it. */
export class TargetNamespace implements Disposable {
  /** For the flock by which two runs keep out of each other's way. */
  readonly lockPath: string;
  #signal: AbortSignal | undefined;
  readonly #netns: NetworkNamespace | undefined;
  readonly #lockFolder: string | undefined;

  /** Throws ERR_NETNS_OPEN when the path names no network namespace. */
  constructor(options: TargetOptions) {
    this.#netns = options.netnsPath === undefined ? undefined : new NetworkNamespace(options.netnsPath);
    this.lockPath = options.netnsPath ?? OWN_NETNS;
    this.#signal = options.signal;
    if (options.cniMode) {
      this.#lockFolder = mkdtempSync(join(tmpdir(), "shunt-xtables-"));
      writeFileSync(this.#lockFile ?? "", "");
    }
  }

  get signal(): AbortSignal | undefined {
    return this.#signal;
  }

  /** From now on work goes to its end: what puts things back must not be ended by what made it necessary. */
  ignoreSignal(): void {
    this.#signal = undefined;
  }

  /** For calls of the addon; undefined for the caller's own. */
  get fd(): number | undefined {
    return this.#netns?.fd;
  }

  get netnsPath(): string | undefined {
    return this.#netns?.path;
  }

  get #lockFile(): string | undefined {
    return this.#lockFolder === undefined ? undefined : join(this.#lockFolder, "lock");
  }

  /** Runs a program in the namespace; throws an ExecError. */
  run(program: string, args: readonly string[], stdin?: string): Promise<RunResult> {
    const lockFile = this.#lockFile;
    const sandbox =
      lockFile === undefined
        ? []
        : ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", SANDBOX, "sh", lockFile];
    const enter = this.#netns === undefined ? [] : ["nsenter", `--net=${this.#netns.path}`, "--"];
    const [first = program, ...rest] = [...enter, ...sandbox, program, ...args];
    return run(first, rest, {
      timeoutMs: TIMEOUT_MS,
      ...(stdin !== undefined && { stdin }),
      ...(this.#signal && { signal: this.#signal }),
      // Known since iptables 1.8.6, and enough where mounts are forbidden.
      ...(lockFile !== undefined && { env: { ...process.env, XTABLES_LOCKFILE: lockFile } }),
    });
  }

  [Symbol.dispose](): void {
    this.#netns?.[Symbol.dispose]();
    if (this.#lockFolder !== undefined) rmSync(this.#lockFolder, { recursive: true, force: true });
  }
}

/** A refusal of a program in one line; what stopped us (a signal, a missing program) stays as it is. */
export function refusal(what: string, error: unknown): Error {
  if (!(error instanceof ExecError) || error.code === "ERR_EXEC_ABORTED") return error as Error;
  const code =
    error.code === "ERR_EXEC_NOT_FOUND" || error.status === 127 ? "ERR_ISTIO_UNAVAILABLE" : "ERR_ISTIO_REFUSED";
  return new IstioIptablesError(code, `${what}: ${error.message}`, { cause: error });
}
