// SPDX-License-Identifier: Apache-2.0
import { Socket } from "node:net";
import type { NativeAddon, NativeConnect } from "../../src/native/addon.ts";
import { loadAddon } from "../../src/native/load-addon.ts";
import { errnoName } from "../../src/native/status.ts";
import type { ConnectFailure, ConnectSource } from "../../src/net/connect-request.ts";
import { type Endpoint, unmapAddress } from "../../src/net/endpoint.ts";

export interface ConnectRequest extends Endpoint {
  /** Network-namespace fd; this process' own when absent. */
  readonly netnsFd?: number | undefined;
  readonly mark?: number | undefined;
  /** Absent: the kernel chooses the address too. */
  readonly source?: ConnectSource | undefined;
  /**
   * Called between bind and connect, so before a SYN can leave; the result is disposed of when the attempt has
   * ended, whichever way.
   */
  readonly beforeConnect?: ((local: Endpoint, remote: Endpoint) => Disposable) | undefined;
  /** Whoever closes the descriptor sends RST, the end of the thread too, until `closeInOrder` is called. */
  readonly resetOnClose?: boolean | undefined;
}

/** A connect under way. */
export interface ConnectAttempt {
  /** Nothing is reported after it. */
  cancel(): void;
}

export interface ConnectObserver {
  /** The socket is established, paused and half-open; the observer owns it. */
  onConnected(socket: Socket): void;
  onConnectFailed(failure: ConnectFailure): void;
}

/**
 * Connects without blocking. What fails at once is the result; everything later is told to the observer, never
 * before this function has returned. There is no timeout: cancel.
 */
export function connect(request: ConnectRequest, observer: ConnectObserver): ConnectAttempt | ConnectFailure {
  const addon = loadAddon();
  const { address, port, netnsFd, mark, source } = request;
  const fd = addon.bindSocket({
    address,
    port,
    ...(netnsFd !== undefined && { netns: netnsFd }),
    ...(mark !== undefined && { mark }),
    // Chosen at bind, a port is used up for all destinations. Only a note of the tuple has to know it that early.
    ...(source && { bindAddress: source.address, bindPort: 0, bindNoPort: request.beforeConnect === undefined }),
    ...(source?.transparent && { transparent: true, freebind: true }),
    ...(request.resetOnClose && { linger: 0 }),
  });
  if (fd < 0) return { syscall: "socket", errnoName: errnoName(fd) };
  let note: Disposable | undefined;
  try {
    note = request.beforeConnect?.(boundTo(addon, fd), { address, port });
  } catch (error) {
    addon.closeFd(fd);
    throw error;
  }
  const attempt = new Attempt(addon, fd, note, observer);
  const status = attempt.start(request);
  return status < 0 ? { syscall: "connect", errnoName: errnoName(status) } : attempt;
}

function boundTo(addon: NativeAddon, fd: number): Endpoint {
  const local = addon.localAddress(fd);
  if (typeof local === "number") throw new TypeError(`getsockname of fd ${fd}: ${errnoName(local)}`);
  return { address: unmapAddress(local.address), port: local.port };
}

class Attempt implements ConnectAttempt {
  readonly #addon: NativeAddon;
  readonly #observer: ConnectObserver;
  readonly #note: Disposable | undefined;
  #fd: number;
  #native: NativeConnect | undefined;

  constructor(addon: NativeAddon, fd: number, note: Disposable | undefined, observer: ConnectObserver) {
    this.#addon = addon;
    this.#fd = fd;
    this.#note = note;
    this.#observer = observer;
  }

  start(remote: Endpoint): number {
    const native = this.#addon.connectSocket(this.#fd, remote.address, remote.port, this.#onResult);
    if (typeof native === "number") {
      this.#discard();
      return native;
    }
    this.#native = native;
    return 0;
  }

  cancel(): void {
    if (this.#fd < 0) return;
    this.#native?.cancel();
    this.#discard();
  }

  #onResult = (status: number): void => {
    if (this.#fd < 0) return;
    if (status < 0) {
      this.#discard();
      this.#observer.onConnectFailed({ syscall: "connect", errnoName: errnoName(status) });
      return;
    }
    this.#note?.[Symbol.dispose]();
    const fd = this.#fd;
    this.#fd = -1;
    const socket = new Socket({ fd, allowHalfOpen: true, readable: true, writable: true });
    socket.setNoDelay(true);
    this.#observer.onConnected(socket);
  };

  #discard(): void {
    this.#note?.[Symbol.dispose]();
    this.#addon.closeFd(this.#fd);
    this.#fd = -1;
  }
}
