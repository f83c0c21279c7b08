// SPDX-License-Identifier: Apache-2.0
/**
 * Logs of the program itself: constant message, everything variable in fields, never payload. One root
 * logger is made by the agent (or a worker) and handed down as children; nothing logs at import.
 */
import { type DestinationStream, destination, type Logger as PinoLogger, pino } from "pino";
import { formatLogLine } from "./log-text.ts";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** `err` is written with message, code and stack; `component` stands before the message in text. */
export type LogFields = Readonly<Record<string, unknown>>;

type Write = (fields: LogFields, message: string) => void;

export interface Logger {
  readonly trace: Write;
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
  /** True when a message of this level would be written: ask before building costly fields. */
  enabled(level: LogLevel): boolean;
  child(fields: LogFields): Logger;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Where whole lines go; standard error when absent. */
  readonly write?: (line: string) => void;
}

export function createLogger(options: LogOptions): Logger {
  const write = options.write ?? standardError();
  const stream: DestinationStream =
    options.format === "json" ? { write } : { write: (line: string) => write(formatLogLine(line)) };
  const root = pino(
    {
      level: options.level,
      // Process id and host name are the supervisor's to add.
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
  return wrap(root);
}

/** For tests and for callers that log nowhere. */
export const silentLogger: Logger = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  enabled: () => false,
  child: () => silentLogger,
};

/** Synchronous: the last line before an end by signal is the one that matters. */
function standardError(): (line: string) => void {
  const stream = destination({ fd: 2, sync: true });
  return (line) => void stream.write(line);
}

function wrap(logger: PinoLogger): Logger {
  return {
    trace: (fields, message) => logger.trace(fields, message),
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    enabled: (level) => logger.isLevelEnabled(level),
    child: (fields) => wrap(logger.child(fields)),
  };
}
