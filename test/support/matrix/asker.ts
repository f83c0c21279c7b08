// SPDX-License-Identifier: Apache-2.0
import { LabProcess, python } from "../lab-process.ts";
import type { Transport, Who } from "./traffic.ts";

export interface MatrixQuestion extends Who {
  readonly transport: Transport;
  readonly address: string;
  readonly port: number;
  readonly source?: string;
  /** By which the proxy's evidence is found; every question of a lab has its own. */
  readonly sourcePort?: number;
  /** After which nobody answers. */
  readonly timeoutMs: number;
}

type Endpoint = readonly [address: string, port: number];

/** What the server saw, or why there is none; `sender` is who answered a datagram in place of the one asked. */
export interface MatrixAnswer {
  readonly error?: string;
  readonly told?: MatrixTold;
}

export interface MatrixTold {
  readonly who?: string;
  readonly client?: Endpoint | null;
  readonly server?: Endpoint;
  /** What connection tracking says of an accepted connection; null where it says nothing. */
  readonly original?: Endpoint | null;
  readonly sender?: Endpoint;
}

/** Connects from inside a namespace, many at once, each in a process of its own with the identity it names. */
export class MatrixAsker implements AsyncDisposable {
  readonly #process: LabProcess;
  #last = 0;

  private constructor(process: LabProcess) {
    this.#process = process;
  }

  static async start(netnsPath: string): Promise<MatrixAsker> {
    const process = await LabProcess.start(python("matrix_asker.py"), netnsPath);
    // One that has ended says why; that nobody reads a question any more says less.
    process.child.stdin?.on("error", () => {});
    return new MatrixAsker(process);
  }

  async ask(question: MatrixQuestion): Promise<MatrixAnswer> {
    const id = ++this.#last;
    this.#process.child.stdin?.write(`${JSON.stringify({ id, ...question })}\n`);
    const answer = new RegExp(`^\\{"id": ${id}, |^ended with`);
    const line = await this.#process.line(answer, question.timeoutMs + 20_000);
    if (line.startsWith("ended")) throw new Error(this.#process.lines.slice(-20).join("\n"));
    return JSON.parse(line) as MatrixAnswer;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
