// SPDX-License-Identifier: Apache-2.0
import { threadId } from "node:worker_threads";
import { spliceLayouts } from "../../accelerate/splice-object.ts";
import type { SpliceSource } from "../../accelerate/splice-source.ts";
import type { NativeMap, NativeWatcher } from "../../native/addon.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";

/** enum bpf_map_type of <linux/bpf.h>. */
const BPF_MAP_TYPE_RINGBUF = 27;
/** MAX_SPLICE_WAKERS of bpf/include/limits.h: the entry of a thread that has died is taken over some time. */
const MOST_WAKERS = 256;
const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/**
 * How this thread learns that a socket which it does not read needs it again: from the program, by a ring buffer of
 * the thread's own, when the program gives the socket back; from the kernel, when the connection ends.
 */
export class SpliceWakes implements Disposable {
  /** This thread's entry in splice_wakers. */
  readonly waker = threadId % MOST_WAKERS;
  readonly #wakers: NativeMap;
  readonly #ring: NativeMap;
  readonly #records: NativeWatcher;
  readonly #epoll: number;
  readonly #hangups: NativeWatcher;
  readonly #byCookie = new Map<bigint, () => void>();
  readonly #byFd = new Map<number, () => void>();

  constructor(source: SpliceSource) {
    const addon = loadAddon();
    this.#wakers = check(addon.mapFromFd(source.wakersFd), "dup", "map splice_wakers");
    const maxEntries = spliceLayouts().ringBytes;
    this.#ring = check(
      addon.createMap({
        type: BPF_MAP_TYPE_RINGBUF,
        name: "splice_ring",
        keySize: 0,
        valueSize: 0,
        maxEntries,
        flags: 0,
      }),
      "bpf_map_create",
      "splice_ring",
    );
    check(this.#wakers.update(word(this.waker), word(this.#ring.fd), 0), "bpf_map_update_elem", "splice_wakers");
    this.#records = check(addon.ringBuffer(this.#ring, this.#onRecord), "ring_buffer__new", "splice_ring");
    this.#epoll = check(addon.createEpoll(), "epoll_create1", "");
    this.#hangups = check(addon.hangups(this.#epoll, this.#onHangup), "uv_poll_start", "epoll");
    // Connections keep the thread running; these only serve them.
    this.#records.unref();
    this.#hangups.unref();
  }

  /** Calls `onWake` until it is disposed of. */
  watch(fd: number, cookie: bigint, onWake: () => void): Disposable {
    this.#byCookie.set(cookie, onWake);
    this.#byFd.set(fd, onWake);
    check(loadAddon().watchHangup(this.#epoll, fd, true), "epoll_ctl", `fd ${fd}`);
    return {
      [Symbol.dispose]: () => {
        this.#byCookie.delete(cookie);
        if (this.#byFd.get(fd) !== onWake) return;
        this.#byFd.delete(fd);
        // Fails where the socket has been closed, which has removed it.
        loadAddon().watchHangup(this.#epoll, fd, false);
      },
    };
  }

  [Symbol.dispose](): void {
    this.#wakers.delete(word(this.waker));
    this.#records.close();
    this.#hangups.close();
    loadAddon().closeFd(this.#epoll);
    this.#ring.close();
    this.#wakers.close();
  }

  #onRecord = (record: Uint8Array): void => {
    const cookie = new DataView(record.buffer, record.byteOffset, record.byteLength).getBigUint64(0, LITTLE_ENDIAN);
    this.#byCookie.get(cookie)?.();
  };

  #onHangup = (fd: number): void => this.#byFd.get(fd)?.();
}

function word(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

let wakes: SpliceWakes | undefined;

/** One for the thread, made when it is first asked for: an agent has one set of programs as long as it runs. */
export function spliceWakesFor(source: SpliceSource): SpliceWakes {
  wakes ??= new SpliceWakes(source);
  return wakes;
}
