// SPDX-License-Identifier: Apache-2.0
/**
 * A file of JSON lines that is only appended to. Lines are batched while a write is under way and always
 * written whole, with O_APPEND, so that several processes may share one file (write(2): the offset is
 * moved and the data written as one step).
 */
import { close, constants, openSync, write } from "node:fs";
import { getSystemErrorMap } from "node:util";
import { ShuntError } from "../util/shunt-error.ts";

export class RecordFileError extends ShuntError<"ERR_RECORD_OPEN" | "ERR_RECORD_WRITE"> {}

export interface RecordFileOptions {
  readonly path: string;
  /** What to call the setting in messages, such as "--record". */
  readonly setting: string;
  /** A write failed (disk full, quota): the lines of that batch are lost and counted in `lost`. */
  readonly onError: (error: RecordFileError) => void;
}

/** Lines waiting beyond this are dropped rather than held: a full disk must not become a full memory. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

interface Batch {
  readonly bytes: Buffer;
  readonly lines: number;
  readonly settled: readonly (() => void)[];
}

export class RecordFile {
  readonly #options: RecordFileOptions;
  readonly #settled: (() => void)[] = [];
  #fd: number;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #writing = false;
  #reopen = false;
  #closed = false;
  /** A failed write left a line unfinished in the file. */
  #torn = false;
  #written = 0;
  #lost = 0;

  /** Opens or creates the file; throws a RecordFileError that names setting, path and reason. */
  constructor(options: RecordFileOptions) {
    this.#options = options;
    this.#fd = openForAppend(options);
  }

  /** Lines that are in the file. */
  get written(): number {
    return this.#written;
  }

  /** Lines that could not be written. */
  get lost(): number {
    return this.#lost;
  }

  append(record: object): void {
    const line = `${JSON.stringify(record)}\n`;
    if (this.#closed || this.#waitingBytes + line.length > MAX_WAITING_BYTES) {
      this.#lost++;
      return;
    }
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.#advance();
  }

  /** Resolves when every line appended before is written or counted as lost. */
  flush(): Promise<void> {
    return new Promise((resolve) => {
      this.#settled.push(resolve);
      this.#advance();
    });
  }

  /** Opens the path anew (after logrotate moved the file): lines waiting go to the new file, none is lost. */
  reopen(): void {
    if (this.#closed) return;
    this.#reopen = true;
    this.#advance();
  }

  /** Flushes, then closes. A second call does nothing. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.flush();
    await new Promise<void>((resolve) => close(this.#fd, () => resolve()));
  }

  #advance(): void {
    if (this.#writing) return;
    if (this.#reopen) this.#switchFile();
    if (this.#waiting.length === 0) {
      for (const resolve of this.#settled.splice(0)) resolve();
      return;
    }
    const lines = this.#waiting.length;
    const bytes = Buffer.from((this.#torn ? "\n" : "") + this.#waiting.join(""));
    this.#torn = false;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#writing = true;
    // Who asked for a flush by now waits for this batch, not for those that keep coming after it.
    this.#write({ bytes, lines, settled: this.#settled.splice(0) }, 0);
  }

  #write(batch: Batch, offset: number): void {
    write(this.#fd, batch.bytes, offset, batch.bytes.length - offset, null, (error, count) => {
      if (error === null && offset + count < batch.bytes.length) {
        this.#write(batch, offset + count);
        return;
      }
      if (error === null) {
        this.#written += batch.lines;
      } else {
        this.#lost += batch.lines;
        this.#torn = offset > 0;
        const { setting, path, onError } = this.#options;
        onError(
          new RecordFileError("ERR_RECORD_WRITE", `${setting} ${path}: cannot append to the file: ${reasonOf(error)}`, {
            cause: error,
          }),
        );
      }
      for (const resolve of batch.settled) resolve();
      this.#writing = false;
      this.#advance();
    });
  }

  #switchFile(): void {
    this.#reopen = false;
    try {
      const fd = openForAppend(this.#options);
      close(this.#fd, () => undefined);
      this.#fd = fd;
    } catch (error) {
      // The old file is still there to take the lines.
      if (!(error instanceof RecordFileError)) throw error;
      this.#options.onError(error);
    }
  }
}

/** Reopens on SIGUSR1, as logrotate's postrotate asks; the returned function takes the handler away again. */
export function reopenOnSignal(file: RecordFile): () => void {
  const handler = (): void => file.reopen();
  process.on("SIGUSR1", handler);
  return () => void process.off("SIGUSR1", handler);
}

function openForAppend({ setting, path }: RecordFileOptions): number {
  try {
    return openSync(path, constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY, 0o640);
  } catch (cause) {
    const reason = reasonOf(cause as NodeJS.ErrnoException);
    throw new RecordFileError("ERR_RECORD_OPEN", `${setting} ${path}: cannot open the file for appending: ${reason}`, {
      cause,
    });
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  const [name, text] = getSystemErrorMap().get(error.errno ?? 0) ?? [error.code, error.message];
  return `${text} (${name})`;
}
