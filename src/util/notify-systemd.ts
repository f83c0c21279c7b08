// SPDX-License-Identifier: Apache-2.0
/**
 * The sd_notify protocol (sd_notify(3)): datagrams of VARIABLE=value lines to the socket that the service
 * manager names in NOTIFY_SOCKET. Node has no unix datagrams, so the sender is handed in.
 */

/** Sends one datagram to a unix socket; a leading NUL in `path` names an abstract socket. */
export type SendDatagram = (path: string, text: string) => void;

export type ServiceState =
  | { readonly kind: "ready"; readonly status?: string }
  /** `monotonicUs` is CLOCK_MONOTONIC in µs: systemd asks for it with Type=notify-reload. */
  | { readonly kind: "reloading"; readonly monotonicUs: bigint }
  | { readonly kind: "stopping" }
  | { readonly kind: "status"; readonly status: string };

/** Tells the service manager, where there is one. False: NOTIFY_SOCKET is unset or of a kind we don't speak (vsock). */
export function notifySystemd(
  state: ServiceState,
  send: SendDatagram,
  environment: NodeJS.ProcessEnv = process.env,
): boolean {
  const socket = environment["NOTIFY_SOCKET"] ?? "";
  if (!/^[/@]./.test(socket)) return false;
  send(socket.startsWith("@") ? `\0${socket.slice(1)}` : socket, `${linesOf(state).join("\n")}\n`);
  return true;
}

function linesOf(state: ServiceState): string[] {
  switch (state.kind) {
    case "ready":
      return ["READY=1", ...(state.status === undefined ? [] : [statusLine(state.status)])];
    case "reloading":
      return ["RELOADING=1", `MONOTONIC_USEC=${state.monotonicUs}`];
    case "stopping":
      return ["STOPPING=1"];
    case "status":
      return [statusLine(state.status)];
  }
}

/** A line break in the text would start another variable. */
function statusLine(status: string): string {
  return `STATUS=${status.replaceAll(/[\r\n]+/g, " ")}`;
}
