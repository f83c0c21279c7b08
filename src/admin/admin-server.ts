// SPDX-License-Identifier: Apache-2.0
/** Metrics, readiness and state over HTTP: always on a unix socket of the agent's user, on TCP only when asked. */
import { lstatSync, mkdirSync, unlinkSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { dirname } from "node:path";
import type { ListenAddress } from "../config/model.ts";
import { ShuntError } from "../util/shunt-error.ts";
import type { AdminSource } from "./admin-source.ts";
import { answer } from "./routes.ts";

export class AdminServerError extends ShuntError<"ERR_ADMIN_IN_USE" | "ERR_ADMIN_LISTEN"> {}

export interface AdminServerOptions {
  readonly source: AdminSource;
  readonly socketPath: string;
  readonly tcp?: ListenAddress;
  /** An answer failed for a reason of the agent's own. */
  readonly onError: (error: unknown) => void;
}

export interface AdminServer {
  /** Where TCP is served; tells the port chosen for port 0. */
  readonly tcp: ListenAddress | undefined;
  /** Ends every connection, followers included, and removes the socket. */
  close(): Promise<void>;
}

/** Listens; throws an AdminServerError, and then listens nowhere. */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const servers: Server[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(servers.map(closeServer));
  };
  try {
    await removeStaleSocket(options.socketPath);
    mkdirSync(dirname(options.socketPath), { recursive: true, mode: 0o755 });
    servers.push(await listenPrivately(newServer(options, true), options.socketPath));
    if (options.tcp === undefined) return { tcp: undefined, close };
    const tcp = await listen(
      newServer(options, false),
      { host: options.tcp.address, port: options.tcp.port },
      `--admin ${formatTcp(options.tcp)}`,
    );
    servers.push(tcp);
    return { tcp: { address: options.tcp.address, port: (tcp.address() as AddressInfo).port }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function newServer({ source, onError }: AdminServerOptions, mayChange: boolean): Server {
  return createServer((request, response) => {
    // The promise never rejects: failures are answered.
    void answer(source, request, response, mayChange, onError);
  });
}

/** A socket nobody answers on was left by an agent that crashed. */
async function removeStaleSocket(path: string): Promise<void> {
  const code = await new Promise<string | undefined>((resolve) => {
    const attempt = connect(path);
    attempt.once("connect", () => resolve(undefined));
    attempt.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
    attempt.once("connect", () => attempt.destroy());
  });
  if (code === undefined) throw new AdminServerError("ERR_ADMIN_IN_USE", `${path}: another agent answers there`);
  // A connect to any other kind of file is refused, too, and that file is not ours.
  if (code === "ECONNREFUSED" && lstatSync(path).isSocket()) unlinkSync(path);
}

/** Mode 0600 from the first moment: a chmod after bind leaves a gap. Node binds unix sockets before listen returns. */
function listenPrivately(server: Server, path: string): Promise<Server> {
  const before = process.umask(0o177);
  try {
    return listen(server, { path }, path);
  } finally {
    process.umask(before);
  }
}

function listen(
  server: Server,
  where: { path: string } | { host: string; port: number },
  name: string,
): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      reject(
        new AdminServerError("ERR_ADMIN_LISTEN", `${name}: cannot listen: ${cause.code ?? cause.message}`, { cause }),
      );
    });
    server.listen(where, () => resolve(server));
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function formatTcp({ address, port }: ListenAddress): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
