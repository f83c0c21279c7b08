// SPDX-License-Identifier: Apache-2.0
import { eventually, patienceMs } from "./inbox.ts";
import { TcpPeer } from "./tcp-peer.ts";

const BEAT = Buffer.from("beat");
const PAUSE_MS = 20;

/** A connection to an echo server that keeps exchanging bytes until it is told to end, or breaks. */
export class Pulse {
  readonly title: string;
  readonly peer: TcpPeer;
  #beats = 0;
  #stopped = false;
  #broken: string | undefined;
  readonly #done: Promise<void>;

  private constructor(title: string, peer: TcpPeer) {
    this.title = title;
    this.peer = peer.read();
    void peer.fate.then((fate) => {
      if (!this.#stopped) this.#broken ??= fate;
    });
    this.#done = this.#beat();
  }

  static async start(title: string, address: string, port: number, netnsFd: number): Promise<Pulse> {
    const pulse = new Pulse(title, await TcpPeer.connect({ address, port, netnsFd }));
    await pulse.goesOn();
    return pulse;
  }

  /** Waits for bytes that came back after the call; rejects when the connection is broken, or silent. */
  async goesOn(): Promise<void> {
    const from = this.#beats;
    await eventually(() => this.#broken !== undefined || this.#beats >= from + 2);
    if (this.#broken !== undefined) throw new Error(`${this.title} broke after ${from} beats: ${this.#broken}`);
  }

  /** Ends the connection in order; gives the bytes it has sent. */
  async end(): Promise<number> {
    this.#stopped = true;
    await this.#done;
    this.peer.end();
    await this.peer.toEnd();
    return this.#beats * BEAT.length;
  }

  destroy(): void {
    this.#stopped = true;
    this.peer.socket.destroy();
  }

  async #beat(): Promise<void> {
    while (!this.#stopped && this.#broken === undefined) {
      this.peer.write(BEAT);
      const wanted = (this.#beats + 1) * BEAT.length;
      const came = await this.peer.bytes(wanted).catch(() => undefined);
      if (!came || came.length !== wanted) {
        this.#broken ??= came ? "more came back than was sent" : `nothing came back for ${patienceMs(10_000)} ms`;
        return;
      }
      this.#beats++;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
