// SPDX-License-Identifier: Apache-2.0
/** shunt-oracle: two ends that check every byte of what they send each other, each with its own report. */
import { join } from "node:path";
import { patienceMs } from "./inbox.ts";
import { LabProcess } from "./lab-process.ts";

const RELEASE = join(import.meta.dirname, "../../addon/build/Release");

/** The one that imports splice(2), or the one that doesn't: what a program may do is told from its executable. */
export type OracleProgram = "shunt-oracle" | "shunt-oracle-splice";

/** One line of JSON, counts of bytes where nothing else is said. */
export interface OracleReport {
  readonly end: "client" | "server";
  /** Connections that have come to an end. */
  readonly transfers: number;
  readonly sent: number;
  readonly received: number;
  /** Of them, what the TCP socket knows nothing of. */
  readonly pastTcpSent: number;
  readonly pastTcpReceived: number;
  readonly reordered: number;
  readonly lost: number;
  readonly duplicated: number;
  /** Other bytes in the place of the right ones. */
  readonly corrupt: number;
  readonly inserted: number;
  /** Connections. */
  readonly stuck: number;
  readonly resets: number;
  readonly resetsBeforeHeader: number;
  readonly died: number;
  /** Urgent bytes. */
  readonly urgent: number;
  /** When the last connection ended: seconds since 1970. */
  readonly lastEnd: number;
  /** `tcp`: plain TCP would have said so as well. */
  readonly errors: readonly { operation: string; errno: string; tcp: boolean; count: number }[];
  /** What plain TCP does not do, by kind. */
  readonly deviations: Readonly<Record<string, number>>;
  readonly clean: boolean;
  /** For people: what went wrong first, with the number that repeats it. */
  readonly notes: readonly string[];
}

export interface OracleRun {
  readonly client: OracleReport;
  readonly server: OracleReport;
}

/** A connection that stands still for so long is stuck. */
const STALL = ["--stall", String(patienceMs(10_000) / 1000)];

/** A server of the oracle on eight ports; its report comes when it is asked to end. */
export class OracleServer implements AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly process: LabProcess;

  private constructor(process: LabProcess, address: string, port: number) {
    this.process = process;
    this.address = address;
    this.port = port;
  }

  /** `port` 0: free ones. */
  static async start(
    address: string,
    { netns, port = 0, program = "shunt-oracle", flags = [] }: OracleServerSettings = {},
  ): Promise<OracleServer> {
    const argv = [join(RELEASE, program), "serve", address, String(port), "--until-stdin-closes", ...STALL, ...flags];
    const process = await LabProcess.start(argv, netns);
    const ready = await process.line(/^ready /);
    return new OracleServer(process, address, Number(ready.split(" ")[2]));
  }

  /** Lets idle readers read. */
  release(): void {
    this.process.child.kill("SIGUSR1");
  }

  /** Ends it and gives what it saw. */
  async report(): Promise<OracleReport> {
    this.process.child.stdin?.end();
    return parsed(await this.process.line(/^\{"end":"server"|^ended with/, 100_000), this.process);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}

export interface OracleServerSettings {
  /** Path of the namespace. */
  readonly netns?: string;
  readonly port?: number;
  readonly program?: OracleProgram;
  readonly flags?: readonly string[];
}

export interface OracleClientSettings {
  readonly netns?: string;
  readonly program?: OracleProgram;
  readonly address: string;
  readonly port: number;
  readonly flags: readonly string[];
  /** Directory of a cgroup it is in from its first instruction on. */
  readonly cgroup?: string;
  readonly deadlineMs?: number;
}

/** A client of the oracle that runs. */
export class OracleClient implements AsyncDisposable {
  readonly process: LabProcess;
  readonly #deadlineMs: number;

  private constructor(process: LabProcess, deadlineMs: number) {
    this.process = process;
    this.#deadlineMs = deadlineMs;
  }

  static async start(settings: OracleClientSettings): Promise<OracleClient> {
    const { netns, program = "shunt-oracle", address, port, flags, cgroup, deadlineMs = 120_000 } = settings;
    const argv = [join(RELEASE, program), "run", address, String(port), ...STALL, ...flags];
    const enter = cgroup === undefined ? "" : 'echo $$ > "$SHUNT_TEST_CGROUP/cgroup.procs"; ';
    const started = await LabProcess.start(
      ["env", `SHUNT_TEST_CGROUP=${cgroup ?? ""}`, "sh", "-c", `${enter}echo ready; exec "$@"`, "sh", ...argv],
      netns,
    );
    return new OracleClient(started, deadlineMs);
  }

  async report(): Promise<OracleReport> {
    return parsed(await this.process.line(/^\{"end":"client"|^ended with/, this.#deadlineMs), this.process);
  }

  /** Waits until nothing moves any more (--idle); bytes that its ends have sent. */
  async parked(): Promise<number> {
    const line = await this.process.line(/^parked |^ended with/, this.#deadlineMs);
    const [, sent] = /^parked \d+ connections, (\d+) bytes sent$/.exec(line) ?? [];
    if (sent === undefined) throw new Error(this.process.lines.join("\n"));
    return Number(sent);
  }

  /** SIGUSR1: idle readers read on; SIGTERM: no new connections. */
  signal(signal: "SIGUSR1" | "SIGTERM"): void {
    this.process.child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}

/** A client against a server until all is done. */
export async function runOracle(
  server: Pick<OracleServer, "address" | "port" | "report">,
  settings: Omit<OracleClientSettings, "address" | "port">,
) {
  await using client = await OracleClient.start({ address: server.address, port: server.port, ...settings });
  const seen = await client.report();
  return { client: seen, server: await server.report() } satisfies OracleRun;
}

/** What is wrong with a run, in words; empty when plain TCP would have done the same. */
export function problemsOf({ client, server }: OracleRun): string[] {
  const { resets } = client;
  const seen = server.transfers + server.resetsBeforeHeader;
  const missing = client.transfers - seen;
  return [
    ...[client, server].filter(({ clean }) => !clean).map((report) => JSON.stringify(report)),
    // What its client reset at once may never have come to the server.
    ...(missing > resets || missing < 0
      ? [`the client made ${client.transfers} connections, the server saw ${seen}`]
      : []),
  ];
}

function parsed(line: string, process: LabProcess): OracleReport {
  if (!line.startsWith("{")) throw new Error(`no report came:\n${process.lines.join("\n")}`);
  return JSON.parse(line) as OracleReport;
}
