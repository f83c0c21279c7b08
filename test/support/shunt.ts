// SPDX-License-Identifier: Apache-2.0
/** The built program as a user starts it: a child process, with deadlines, whose leftovers are removed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConnectionRecord } from "../../src/proxy/connection-record.ts";
import { eventually, Inbox, patienceMs } from "./inbox.ts";

const PROGRAM = join(import.meta.dirname, "../../dist/main.js");

let agents = 0;

/** A name nobody else on the machine has, for agents and whatever else a test makes. */
export function uniqueName(label = "agent"): string {
  return `shunt-test-${process.pid}-${label}-${++agents}`;
}

/** argv of the built program, inside a namespace when one is given. */
export function shuntArgv(args: readonly string[], netns?: string): string[] {
  const own = [process.execPath, PROGRAM, ...args];
  return netns === undefined ? own : ["nsenter", `--net=${netns}`, "--", ...own];
}

export interface CommandSettings {
  /** Path of the network namespace it runs in. */
  readonly netns?: string;
  readonly cwd?: string;
  /** On top of this process' environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** Before patience; a minute unless told otherwise. */
  readonly deadlineMs?: number;
}

export interface Finished {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. Rejects, having killed it, when it does not end in time. */
export async function runCommand(argv: readonly string[], settings: CommandSettings = {}): Promise<Finished> {
  const [command = "", ...args] =
    settings.netns === undefined ? argv : ["nsenter", `--net=${settings.netns}`, "--", ...argv];
  const child = spawn(command, args, {
    stdio: "pipe",
    ...(settings.cwd === undefined ? {} : { cwd: settings.cwd }),
    env: { ...process.env, ...settings.env },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // It may end without reading what it is given.
  child.stdin.on("error", () => {});
  child.stdin.end(settings.stdin ?? "");
  const deadlineMs = patienceMs(settings.deadlineMs ?? 60_000);
  let late = false;
  const deadline = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, deadlineMs);
  try {
    const [status, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    if (late) throw new Error(`${argv.join(" ")} did not end within ${deadlineMs} ms: ${stdout}${stderr}`);
    return { status, signal, stdout, stderr };
  } finally {
    clearTimeout(deadline);
  }
}

/** One command of the built program. */
export function shunt(args: readonly string[], settings: CommandSettings = {}): Promise<Finished> {
  return runCommand(shuntArgv(args), settings);
}

/** Fields of a configuration file as a user writes them; name, record file and log come by themselves. */
export type AgentFile = Readonly<Record<string, unknown>>;

export interface LogLine {
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface AgentSettings {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** An agent that has ended, whose name and folder this one goes on with. */
  readonly takeOver?: ShuntAgent;
}

/** `shunt run` with a configuration file in a folder of its own. */
export class ShuntAgent implements AsyncDisposable {
  readonly name: string;
  readonly folder: string;
  readonly configFile: string;
  readonly recordFile: string;
  readonly #child: ChildProcess;
  readonly #log = new Inbox<string>();
  readonly #ready = new Inbox<string>();
  readonly #exit: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>;
  #ended = false;
  #stderr = "";

  private constructor(name: string, folder: string, child: ChildProcess) {
    this.name = name;
    this.folder = folder;
    this.configFile = join(folder, "agent.yaml");
    this.recordFile = join(folder, "records.jsonl");
    this.#child = child;
    eachLine(child, "stdout", this.#ready.push);
    eachLine(child, "stderr", (line) => {
      this.#stderr += `${line}\n`;
      this.#log.push(line);
    });
    this.#exit = once(child, "close").then(([status, signal]) => {
      this.#ended = true;
      this.#ready.push("ended");
      return { status: status as number | null, signal: signal as NodeJS.Signals | null };
    });
  }

  /** Resolves at its `ready` line; rejects with what it logged when it ends before. */
  static async start(file: AgentFile, { flags = [], env = {}, takeOver }: AgentSettings = {}): Promise<ShuntAgent> {
    const name = takeOver?.name ?? uniqueName();
    const folder = takeOver?.folder ?? mkdtempSync(join(tmpdir(), "shunt-test-agent-"));
    const configFile = join(folder, "agent.yaml");
    writeFileSync(configFile, completed(file, name, folder));
    const [command = "", ...args] = shuntArgv(["run", "--config", configFile, ...flags]);
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
    const agent = new ShuntAgent(name, folder, child);
    try {
      await agent.#ready.until((lines) => lines.includes("ready") || lines.includes("ended"), 60_000);
      if (!agent.#ready.all.includes("ready")) throw new Error(`the agent ended: ${agent.stderr}`);
      return agent;
    } catch (error) {
      await agent[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get logged(): readonly LogLine[] {
    return this.#log.all.map(parseLogLine);
  }

  /** The first line of the log from `from` on that fits. */
  waitForLog(fits: (line: LogLine) => boolean, from = 0): Promise<LogLine> {
    return this.#log.until((lines) => lines.slice(from).map(parseLogLine).find(fits), 30_000);
  }

  records(): readonly ConnectionRecord[] {
    return readRecords(this.recordFile);
  }

  waitForRecords(fits: (record: ConnectionRecord) => boolean, count = 1): Promise<readonly ConnectionRecord[]> {
    return eventually(() => {
      const fitting = this.records().filter(fits);
      return fitting.length >= count && fitting;
    });
  }

  /** Replaces the file, as editors and ConfigMaps do; a text is written as it is. */
  writeConfig(file: AgentFile | string): void {
    const text = typeof file === "string" ? file : completed(file, this.name, this.folder);
    writeFileSync(`${this.configFile}.new`, text);
    renameSync(`${this.configFile}.new`, this.configFile);
  }

  /** Writes the file and waits until the agent says what came of it. */
  async reconfigure(file: AgentFile | string): Promise<LogLine> {
    const from = this.logged.length;
    this.writeConfig(file);
    return this.waitForLog(isReloadOutcome, from);
  }

  async hangUp(): Promise<LogLine> {
    const from = this.logged.length;
    this.signal("SIGHUP");
    return this.waitForLog((line) => isReloadOutcome(line) && line["why"] === "SIGHUP", from);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** What `shunt COMMAND --json` answers about this agent. */
  async ask<Answer>(command: string, flags: readonly string[] = []): Promise<Answer> {
    const { status, stdout, stderr } = await shunt([command, "--name", this.name, "--json", ...flags]);
    if (status !== 0) throw new Error(`shunt ${command}: ${status} ${stderr}`);
    return JSON.parse(stdout) as Answer;
  }

  /** Waits for its end. */
  async ended(): Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }> {
    const deadlineMs = patienceMs(30_000);
    const deadline = new Promise<never>((_, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`the agent did not end within ${deadlineMs} ms: ${this.stderr}`)),
        deadlineMs,
      );
      void this.#exit.then(() => clearTimeout(timer));
    });
    return Promise.race([this.#exit, deadline]);
  }

  /** Ends it in order; throws unless its status is 0. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    this.signal(signal);
    const { status, signal: by } = await this.ended();
    if (status !== 0) throw new Error(`the agent ended with ${status ?? by}: ${this.stderr}`);
  }

  /** SIGKILL: what it pinned stays in force. */
  async crash(): Promise<void> {
    this.signal("SIGKILL");
    await this.ended();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) {
      this.signal("SIGTERM");
      await this.ended().catch(() => this.crash());
    }
    if (!existsSync(this.folder)) return;
    if (existsSync(`/run/shunt/${this.name}`)) await shunt(["clean", "--name", this.name]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function isReloadOutcome({ msg }: LogLine): boolean {
  return msg.startsWith("configuration ");
}

/** What comes before the log is set up is plain text. */
function parseLogLine(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
}

function completed(file: AgentFile, name: string, folder: string): string {
  const record = join(folder, "records.jsonl");
  // JSON is YAML.
  return JSON.stringify({ name, record, logFormat: "json", logLevel: "debug", ...file }, null, 2);
}

function readRecords(file: string): readonly ConnectionRecord[] {
  if (!existsSync(file)) return [];
  // The last line may not be complete yet.
  const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as ConnectionRecord);
}

function eachLine(child: ChildProcess, stream: "stdout" | "stderr", take: (line: string) => void): void {
  let rest = "";
  child[stream]?.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
}
