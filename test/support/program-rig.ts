// SPDX-License-Identifier: Apache-2.0
/** Unmodified programs in two namespaces, with an agent in their way twice. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext } from "vitest";
import type { ConnectionRecord } from "../../src/proxy/connection-record.ts";
import { type Acceleration, TRIED } from "./acceleration.ts";
import { libraryPath, unpackPackage } from "./deb-cache.ts";
import { listens } from "./external-proxy.ts";
import { eventually, patienceMs } from "./inbox.ts";
import { type LabProcess, LabProcesses } from "./lab-process.ts";
import { OracleRig } from "./oracle-rig.ts";
import { type CommandSettings, type Finished, runCommand } from "./shunt.ts";

export interface ServeSettings {
  readonly env?: Readonly<Record<string, string>>;
  /** It runs when it listens on this one. */
  readonly port: number;
}

export class ProgramRig implements AsyncDisposable {
  readonly rig: OracleRig;
  /** Its own, for what programs write. */
  readonly folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-program-`));
  readonly #processes = new LabProcesses();

  private constructor(rig: OracleRig) {
    this.rig = rig;
  }

  /** Skips the test when the agent was asked to do more than copy and can't. */
  static async start(acceleration: Acceleration, skip: TestContext["skip"]): Promise<ProgramRig> {
    const started = new ProgramRig(await OracleRig.start("two namespaces", acceleration));
    const missing = await started.rig.missing();
    if (missing === undefined) return started;
    await started[Symbol.asyncDispose]();
    return skip(missing);
  }

  /** Where the server is, as its clients see it. */
  get address(): string {
    return this.rig.address;
  }

  /** Starts a program in the server's namespace and waits until it listens. */
  async serve(argv: readonly string[], { env = {}, port }: ServeSettings): Promise<LabProcess> {
    const netns = this.rig.serverNetns;
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const command = ["env", ...variables, "sh", "-c", 'echo ready; exec "$@"', "sh", ...argv];
    const started = await this.#processes.start(command, netns);
    await eventually(() => {
      const ended = started.lines.find((line) => line.startsWith("ended with"));
      if (ended !== undefined) throw new Error(started.lines.join("\n"));
      return listens(netns, port);
    });
    return started;
  }

  /** Runs a program in the client's namespace to its end; throws unless its status is 0. */
  async ask(argv: readonly string[], settings: Omit<CommandSettings, "netns"> = {}): Promise<string> {
    return checked(argv, await runCommand(argv, { netns: this.rig.clientNetns, ...settings }));
  }

  /** The same in the server's namespace, without a proxy on the way to its own addresses. */
  async askThere(argv: readonly string[], settings: Omit<CommandSettings, "netns"> = {}): Promise<string> {
    return checked(argv, await runCommand(argv, { netns: this.rig.serverNetns, ...settings }));
  }

  /** Records of connections to a port, of both proxies, when there are so many. */
  recordsOf(port: number, count: number): Promise<readonly ConnectionRecord[]> {
    const fits = ({ originalDestination }: ConnectionRecord): boolean =>
      originalDestination?.endsWith(`:${port}`) === true;
    return this.rig.agent.waitForRecords(fits, count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#processes[Symbol.asyncDispose]();
    await this.rig[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function checked(argv: readonly string[], { status, stdout, stderr }: Finished): string {
  if (status !== 0) throw new Error(`${argv.join(" ")}: ${status} ${stdout}${stderr}`);
  return stdout;
}

/** Ways that bytes of some connections took, each once. */
export function pathsOf(records: readonly ConnectionRecord[]): Set<string> {
  return new Set(records.flatMap(({ acceleration: a }) => (a ? [a.sent, a.received] : ["copy"])));
}

/** A program of an unpacked Debian package. */
export interface Unpacked {
  readonly root: string;
  readonly env: Readonly<Record<string, string>>;
}

/** The package, or why it can't be had; downloads it when it is asked for the first time. */
export async function unpacked(name: string): Promise<Unpacked | string> {
  const found = await unpackPackage(name);
  if (!found.ok) return found.reason;
  return { root: found.root, env: found.root === "/" ? {} : { LD_LIBRARY_PATH: libraryPath(found.root) } };
}

/** A suite in every way that bytes may go; skipped as a whole, naming what is missing. */
export function withProgram<Program>(
  title: string,
  program: Program | string,
  suite: (program: Program, acceleration: Acceleration) => void,
): void {
  const missing = typeof program === "string" ? ` (skipped: ${program})` : "";
  describe.skipIf(missing !== "")(`${title}${missing}`, { timeout: patienceMs(120_000) }, () => {
    describe.each(TRIED)("in mode %s", (acceleration) => {
      if (typeof program !== "string") suite(program, acceleration);
    });
  });
}
