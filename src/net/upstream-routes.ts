// SPDX-License-Identifier: Apache-2.0
// Hot: asked for every connection.
import type { NativeCarrier } from "../native/native-carrier.ts";
import { check } from "../native/status.ts";
import type { ConnectRequest } from "./connect-request.ts";

/** Kinds of sockets for upstream connections, each made known to the carrier when it is first wanted. */
export class UpstreamRoutes implements Disposable {
  readonly #native: NativeCarrier;
  readonly #netnsFd: number | undefined;
  readonly #mark: number | undefined;
  readonly #numbers = new Map<string, number>();

  constructor(native: NativeCarrier, netnsFd: number | undefined, mark: number | undefined) {
    this.#native = native;
    this.#netnsFd = netnsFd;
    this.#mark = mark;
  }

  /** The route of a request; a transparent one's source is still to be bound to. */
  of({ address, source, beforeConnect }: ConnectRequest): number {
    const family = address.includes(":") ? 6 : 4;
    const kind = source?.transparent ? (beforeConnect ? "noted" : "transparent") : (source?.address ?? "any");
    const key = `${family} ${kind}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#native.addRoute({
      family,
      ...(this.#netnsFd !== undefined && { netns: this.#netnsFd }),
      ...(this.#mark !== undefined && { mark: this.#mark }),
      // Chosen at bind, a port is used up for all destinations. Only a note of the tuple has to know it that early.
      ...(source && { bindNoPort: beforeConnect === undefined }),
      ...(source && (source.transparent ? { transparent: true, freebind: true } : { source: source.address })),
    });
    this.#numbers.set(key, check(number, "addRoute"));
    return number;
  }

  [Symbol.dispose](): void {
    for (const number of this.#numbers.values()) this.#native.removeRoute(number);
    this.#numbers.clear();
  }
}
