// SPDX-License-Identifier: Apache-2.0
/** Processes in namespaces of a test: servers that say when they are ready, clients that tell what they saw. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Inbox, patienceMs } from "./inbox.ts";
import { runCommand } from "./shunt.ts";

/** The interpreter itself: what the path finds first may be a script that looks for it each time. */
const PYTHON = [
  execFileSync("python3", ["-c", "import sys; print(sys.executable)"], {
    encoding: "utf8",
    timeout: patienceMs(20_000),
  }).trim(),
  "-IS",
];
const PROGRAMS = join(import.meta.dirname, "programs");

/** argv of a program of test/support/programs. */
export function python(program: string, ...args: readonly string[]): string[] {
  return [...PYTHON, join(PROGRAMS, program), ...args];
}

/** Path of the built C tools. */
export function tool(name: "shunt-load" | "shunt-echo"): string {
  return join(import.meta.dirname, "../../addon/build/Release", name);
}

/** A process that runs until it is disposed. */
export class LabProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly #lines = new Inbox<string>();
  readonly #closed: Promise<unknown>;
  #rest = "";

  private constructor(argv: readonly string[], netns?: string) {
    const [command = "", ...args] = netns === undefined ? argv : ["nsenter", `--net=${netns}`, "--", ...argv];
    // Both tools exec: the pid is that of the program itself.
    this.child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#closed = once(this.child, "close");
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        const lines = (this.#rest + text).split("\n");
        this.#rest = lines.pop() ?? "";
        for (const line of lines) this.#lines.push(line);
      });
    }
    // When it has exited there may still be output of it to come.
    this.child.once("close", (status) => this.#lines.push(`ended with ${status}: ${argv.join(" ")}`));
  }

  /** Starts it and waits for a line that begins with `ready`. */
  static async start(argv: readonly string[], netns?: string): Promise<LabProcess> {
    const started = new LabProcess(argv, netns);
    const line = await started.line(/^ready|^ended with/, 30_000);
    if (!line.startsWith("ready")) throw new Error(started.#lines.all.join("\n"));
    return started;
  }

  /** Lines of its output so far, but for the one that said it is ready. */
  get lines(): readonly string[] {
    return this.#lines.all.filter((line) => !line.startsWith("ready"));
  }

  /** Waits for a line of its output. */
  line(pattern: RegExp, deadlineMs?: number): Promise<string> {
    return this.#lines.until((lines) => lines.find((line) => pattern.test(line)), deadlineMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill("SIGKILL");
    await Promise.race([this.#closed, new Promise((resolve) => setTimeout(resolve, patienceMs(5000)).unref())]);
  }
}

/** Several processes that end together. */
export class LabProcesses implements AsyncDisposable {
  readonly #all: LabProcess[] = [];

  async start(argv: readonly string[], netns?: string): Promise<LabProcess> {
    const started = await LabProcess.start(argv, netns);
    this.#all.push(started);
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.splice(0).map((one) => one[Symbol.asyncDispose]()));
  }
}

export type TellServer = "python" | "node";

/** argv of a server that tells its clients which addresses their connection has, seen from its end. */
export function tellServer(kind: TellServer, address: string, ports: readonly number[]): string[] {
  const program =
    kind === "python"
      ? [...PYTHON, join(PROGRAMS, "tell_server.py")]
      : [process.execPath, join(PROGRAMS, "tell-server.mjs")];
  return [...program, address, ...ports.map(String)];
}

/** Who a process is. */
export interface Identity {
  readonly uid?: number;
  readonly gid?: number;
  /** Directory of the cgroup it enters before anything else. */
  readonly cgroup?: string;
}

/** argv of an unmodified sidecar that takes both directions of its namespace; `services` are VIP → address. */
export function sidecar(services: Readonly<Record<string, string>> = {}, identity: Identity = {}): string[] {
  const flags = Object.entries(services).flatMap(([vip, address]) => ["--service", `${vip}=${address}`]);
  return inCgroup(identity, [...PYTHON, join(PROGRAMS, "sidecar.py"), ...idFlags(identity), ...flags]);
}

/** What a client learned; `error` alone when it could not connect. */
export interface Told {
  readonly error?: string;
  readonly server?: string;
  /** The address the server sees the connection come from. */
  readonly client?: string;
  readonly clientPort?: number;
  /** Address and port of the server's own end. */
  readonly local?: readonly [string, number];
  /** getpeername() of the client. */
  readonly peer?: readonly [string, number];
}

export type TellClient = "curl" | "python" | "node";

/** For python alone, but for `cgroup`. */
export interface AskSettings extends Identity {
  /** Address the client binds first. */
  readonly source?: string;
  readonly mark?: number;
}

/** Connects from inside a namespace with an unmodified program. */
export async function ask(
  kind: TellClient,
  netns: string,
  address: string,
  port: number,
  settings: AskSettings = {},
): Promise<Told> {
  const argv = inCgroup(settings, clientArgv(kind, address, port, settings));
  const { status, stdout, stderr } = await runCommand(argv, { netns });
  if (kind !== "curl") {
    if (status !== 0) throw new Error(`${argv.join(" ")}: ${status} ${stderr}`);
    return JSON.parse(stdout) as Told;
  }
  if (status !== 0) return { error: `curl ${status}` };
  const [body = "", remote = ""] = stdout.split("\n");
  const [peerAddress = "", peerPort = ""] = remote.split(" ");
  return { ...(JSON.parse(body) as Told), peer: [peerAddress, Number(peerPort)] };
}

function inCgroup({ cgroup }: Identity, argv: string[]): string[] {
  return cgroup === undefined ? argv : ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', cgroup, ...argv];
}

function idFlags({ uid, gid }: Identity): string[] {
  return [...(uid === undefined ? [] : ["--uid", String(uid)]), ...(gid === undefined ? [] : ["--gid", String(gid)])];
}

function clientArgv(kind: TellClient, address: string, port: number, settings: AskSettings): string[] {
  const { source, mark } = settings;
  switch (kind) {
    case "curl": {
      const host = address.includes(":") ? `[${address}]` : address;
      const told = ["-w", "\\n%{remote_ip} %{remote_port}"];
      return ["curl", "-sS", "-m", "20", "--noproxy", "*", ...told, `http://${host}:${port}/`];
    }
    case "python": {
      const own = [
        ...idFlags(settings),
        ...(source === undefined ? [] : ["--source", source]),
        ...(mark === undefined ? [] : ["--mark", String(mark)]),
      ];
      return [...PYTHON, join(PROGRAMS, "tell_client.py"), ...own, address, String(port)];
    }
    case "node":
      return [process.execPath, join(PROGRAMS, "tell-client.mjs"), address, String(port)];
  }
}
