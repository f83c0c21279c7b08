// SPDX-License-Identifier: Apache-2.0
/**
 * The typed face of `addon/build/Release/shunt.node`. Thin by design: one function is one libbpf call or
 * one system call. A failure comes back as a negative errno, never as an exception; `native/status.ts`
 * turns it into a SystemError. Misuse (wrong argument types, a closed handle) throws a TypeError or an
 * Error with code ERR_HANDLE_CLOSED. Every handle closes itself when it is collected.
 */

import type { CarrierCallbacks, NativeCarrier } from "./native-carrier.ts";

/** A non-negative result, or −errno. */
export type Status = number;

/** One BTF type of an object; `id` counts from 1 as in the section. Kinds are upper case as in bpftool. */
export interface BtfType {
  readonly id: number;
  readonly kind: string;
  readonly name: string;
  readonly size?: number;
  /** Referenced type of PTR, ARRAY (element), TYPEDEF, CONST, VOLATILE, VAR, FUNC, FUNC_PROTO (result; 0 is void). */
  readonly typeId?: number;
  /** Element count of an ARRAY. */
  readonly length?: number;
  readonly signed?: boolean;
  /**
   * Of STRUCT and UNION, the variables of a DATASEC, the parameters of a FUNC_PROTO (offset 0). `bitSize` is
   * 0 unless the member is a bit-field, as bpftool's `bitfield_size`.
   */
  readonly members?: readonly {
    readonly name: string;
    readonly typeId: number;
    readonly bitOffset: number;
    readonly bitSize: number;
  }[];
  readonly values?: readonly { readonly name: string; readonly value: number }[];
}

export interface MapDescription {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** BTF type ids, 0 where the map declares none. */
  readonly keyTypeId: number;
  readonly valueTypeId: number;
}

export interface ProgramDescription {
  readonly name: string;
  readonly section: string;
  readonly type: number;
  readonly expectedAttachType: number;
  readonly instructions: number;
  readonly autoload: boolean;
}

export interface NativeHandle {
  readonly closed: boolean;
  close(): void;
}

/** A parsed object file. Opening and describing it never asks the kernel anything. */
export interface NativeObject extends NativeHandle {
  maps(): MapDescription[];
  programs(): ProgramDescription[];
  btf(): BtfType[];
  setAutoload(program: string, autoload: boolean): Status;
  setAutocreate(map: string, autocreate: boolean): Status;
  setMaxEntries(map: string, entries: number): Status;
  /** Uses the map behind `map` for the object's map of this name instead of creating one. */
  reuseMap(name: string, map: NativeMap): Status;
  /**
   * Creates maps and loads programs, once. After a failure `log` is the verifier's text of the program that
   * failed or, where the verifier said nothing, libbpf's warnings; after a success with `logLevel` > 0 the
   * verifier's text of every program; otherwise "".
   */
  load(logLevel: number): { readonly status: Status; readonly log: string };
  /** A new handle (duplicated fd) on a loaded map or program; −ENOENT for an unknown name, −EBADF before load(). */
  map(name: string): NativeMap | Status;
  program(name: string): NativeProgram | Status;
}

export interface MapInfo extends MapDescription {
  readonly id: number;
  readonly btfId: number;
}
export interface ProgramInfo {
  readonly id: number;
  readonly type: number;
  readonly name: string;
  readonly tag: string;
  readonly loadTimeNs: bigint;
}
export interface LinkInfo {
  readonly id: number;
  readonly type: number;
  readonly programId: number;
  readonly attachType?: number;
  readonly cgroupId?: bigint;
  readonly netnsInode?: number;
  readonly mapId?: number;
}

/**
 * Keys and values are exactly keySize and valueSize bytes, else a TypeError. A value of a per-CPU map is
 * valueSize rounded up to 8, times `possibleCpus`, in every call that takes or gives one.
 */
export interface NativeMap extends NativeHandle {
  readonly fd: number;
  info(): MapInfo | Status;
  lookup(key: Uint8Array, flags?: number): Uint8Array | Status;
  update(key: Uint8Array, value: Uint8Array, flags: number): Status;
  delete(key: Uint8Array): Status;
  lookupAndDelete(key: Uint8Array): Uint8Array | Status;
  /** The key after `key`, or the first one; −ENOENT at the end. */
  nextKey(key: Uint8Array | null): Uint8Array | Status;
  /** Keys and values packed back to back; `count` entries at most. `cursor` undefined starts, result.cursor undefined ends. */
  lookupBatch(
    cursor: Uint8Array | undefined,
    count: number,
  ):
    | {
        readonly keys: Uint8Array;
        readonly values: Uint8Array;
        readonly count: number;
        readonly cursor: Uint8Array | undefined;
      }
    | Status;
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number, flags: number): Status;
  deleteBatch(keys: Uint8Array, count: number): Status;
  pin(path: string): Status;
}

export interface NativeProgram extends NativeHandle {
  readonly fd: number;
  info(): ProgramInfo | Status;
  /** bpf_link_create on a cgroup, netns (sk_lookup) or map fd. `flags` are those of the attach type. */
  link(targetFd: number, attachType: number, flags?: number): NativeLink | Status;
  /** bpf_prog_attach / bpf_prog_detach2, for kernels without links. */
  attach(targetFd: number, attachType: number, flags: number): Status;
  detach(targetFd: number, attachType: number): Status;
  testRun(options: {
    readonly data?: Uint8Array;
    readonly context?: Uint8Array;
    readonly repeat?: number;
    readonly dataOutSize?: number;
    readonly contextOutSize?: number;
    /** Network namespace whose lo the packet of a SCHED_CLS program seems to come by; the caller's own when absent. */
    readonly netns?: number | undefined;
  }):
    | {
        readonly returnValue: number;
        readonly durationNs: number;
        readonly data: Uint8Array;
        readonly context: Uint8Array;
      }
    | Status;
  pin(path: string): Status;
}

export interface NativeLink extends NativeHandle {
  readonly fd: number;
  info(): LinkInfo | Status;
  /** Replaces the program atomically. */
  update(program: NativeProgram): Status;
  detach(): Status;
  pin(path: string): Status;
}

export interface ListenOptions {
  readonly address: string;
  readonly port: number;
  readonly type: "stream" | "dgram";
  /** Network-namespace fd to make the socket in; the caller's own when absent. */
  readonly netns?: number;
  readonly backlog?: number;
  readonly reusePort?: boolean;
  readonly reuseAddress?: boolean;
  readonly transparent?: boolean;
  readonly freebind?: boolean;
  readonly v6only?: boolean;
  readonly mark?: number;
}

export interface ConnectOptions {
  readonly address: string;
  readonly port: number;
  readonly netns?: number;
  readonly mark?: number;
  /** Source to bind to before connecting; port 0 lets the kernel choose at bind. */
  readonly bindAddress?: string;
  readonly bindPort?: number;
  /**
   * IP_BIND_ADDRESS_NO_PORT (≥ 4.2): with port 0 the kernel chooses at connect, so that one local port serves
   * connections to different destinations; until then the socket's port reads as 0.
   */
  readonly bindNoPort?: boolean;
  /** As setLinger, from the start. */
  readonly linger?: number;
  readonly reuseAddress?: boolean;
  readonly transparent?: boolean;
  readonly freebind?: boolean;
}

/**
 * A connect under way. The callback comes exactly once, asynchronously, unless `cancel` came first. The
 * descriptor stays the caller's: neither the end of the connect nor `cancel` closes it. Only when the thread ends
 * while the connect is under way, by itself or terminated, is it closed.
 */
export interface NativeConnect {
  cancel(): void;
}

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

/**
 * While open it is not collected and keeps the loop alive, as a server does. An exception of its callback
 * is an uncaughtException of the process; the watcher goes on.
 */
export interface NativeWatcher extends NativeHandle {
  /** Lets the loop end while this watcher is open. */
  unref(): void;
  ref(): void;
}

export interface NativeAddon {
  /** libbpf's versions, as "1.1": the one loaded and the one whose headers were used. */
  readonly versions: { readonly libbpf: string; readonly libbpfBuilt: string; readonly napi: number };
  /** libbpf_num_possible_cpus(): how many values a per-CPU map has for a key. */
  readonly possibleCpus: number;

  openObject(bytes: Uint8Array, name: string): NativeObject | Status;
  createMap(options: {
    readonly type: number;
    readonly name: string;
    readonly keySize: number;
    readonly valueSize: number;
    readonly maxEntries: number;
    readonly flags: number;
  }): NativeMap | Status;
  openPinnedMap(path: string): NativeMap | Status;
  openPinnedProgram(path: string): NativeProgram | Status;
  openPinnedLink(path: string): NativeLink | Status;
  mapById(id: number): NativeMap | Status;
  programById(id: number): NativeProgram | Status;
  /** Duplicates an fd of this process (from another thread) into a handle of this environment. */
  mapFromFd(fd: number): NativeMap | Status;
  programFromFd(fd: number): NativeProgram | Status;
  /** Loads raw instructions (8 bytes each): for probes. */
  loadProgram(options: {
    readonly type: number;
    readonly expectedAttachType: number;
    readonly name: string;
    readonly instructions: Uint8Array;
    readonly license: string;
  }): { readonly program: NativeProgram | undefined; readonly status: Status; readonly log: string };
  /**
   * Ids of the programs attached to a cgroup (or netns) for an attach type; `flags` as BPF_F_QUERY_EFFECTIVE. For types
   * that belong to an interface `targetFd` is its index, in the namespace of `netnsFd`.
   */
  queryPrograms(
    targetFd: number,
    attachType: number,
    flags: number,
    netnsFd?: number,
  ): { readonly ids: number[]; readonly attachFlags: number } | Status;
  /** Records are delivered from libuv's loop. The view is valid only during the call. */
  ringBuffer(map: NativeMap, onRecord: (record: Uint8Array) => void): NativeWatcher | Status;

  /** An epoll descriptor, the caller's to close. */
  createEpoll(): Status;
  /**
   * Tells of each socket that `watchHangup` has added once its other end has closed, or half of it, or it has an error;
   * never of data, and whether or not anybody reads the socket. Works on a duplicate of the descriptor.
   */
  hangups(epollFd: number, onHangup: (fd: number) => void): NativeWatcher | Status;
  /** Adds or removes a socket. A closed one is gone by itself. */
  watchHangup(epollFd: number, fd: number, on: boolean): Status;

  /** Takes a socket that libuv neither reads nor writes at the moment out of its epoll set; it puts it back by itself. */
  leaveLoop(fd: number): Status;

  /** Creates, sets options, binds and (stream) listens; inside `netns` when given. A non-blocking, close-on-exec fd. */
  listen(options: ListenOptions): Status;
  /**
   * Non-blocking connect made in two steps, so that the caller can note the tuple in between:
   * `bindSocket` gives an fd bound (when asked) and `connectSocket` starts the connect and reports. A
   * connect(2) that is refused at once is the returned −errno, and the callback never comes.
   */
  bindSocket(options: ConnectOptions): Status;
  connectSocket(fd: number, address: string, port: number, callback: (status: Status) => void): NativeConnect | Status;
  createCarrier(callbacks: CarrierCallbacks): NativeCarrier | Status;
  localAddress(fd: number): SocketAddress | Status;
  remoteAddress(fd: number): SocketAddress | Status;
  /** SO_ORIGINAL_DST (SOL_IP) or IP6T_SO_ORIGINAL_DST (SOL_IPV6). */
  originalDestination(fd: number, family: 4 | 6): SocketAddress | Status;
  socketCookie(fd: number): bigint | Status;
  /** SO_NETNS_COOKIE of a socket made in the namespace (≥ 5.14). */
  netnsCookie(netnsFd: number | undefined): bigint | Status;
  /** Integer socket option, raw level and name. Read as unsigned, so that no value looks like an error. */
  setSocketOption(fd: number, level: number, name: number, value: number): Status;
  getSocketOption(fd: number, level: number, name: number): Status;
  /**
   * SO_LINGER: how long close() waits for queued data, 0 … 3600 s. With 0 it discards them and sends RST, whoever
   * closes, the kernel at the end of the process too; −1 takes it off. Accepted sockets inherit it from the listener.
   */
  setLinger(fd: number, seconds: number): Status;
  /** getifaddrs inside the namespace: every address assigned there, with its interface. */
  interfaceAddresses(
    netnsFd: number | undefined,
  ):
    | { readonly interface: string; readonly address: string; readonly prefixLength: number; readonly up: boolean }[]
    | Status;
  /** RTM_NEWADDR and RTM_DELADDR of the namespace; called without arguments, some time after each change. */
  watchAddresses(netnsFd: number | undefined, onChange: () => void): NativeWatcher | Status;
  /** RTM_NEWLINK, RTM_DELLINK, RTM_NEWROUTE and RTM_DELROUTE of the namespace; as watchAddresses. */
  watchRoutes(netnsFd: number | undefined, onChange: () => void): NativeWatcher | Status;
  /** if_nameindex inside the namespace. */
  interfaceIndexes(netnsFd: number | undefined): { readonly name: string; readonly index: number }[] | Status;
  /**
   * Asks for a dump (NLM_F_DUMP) by netlink, inside the namespace: `type` and what follows the header of the request.
   * Every message of the answer with its header, one after another as they came. −EINTR when it goes on changing.
   */
  dumpNetlink(netnsFd: number | undefined, protocol: number, type: number, body: Uint8Array): Uint8Array | Status;
  /** Adds or removes an address on an interface of the namespace (rtnetlink). */
  changeAddress(
    netnsFd: number | undefined,
    add: boolean,
    interfaceName: string,
    address: string,
    prefixLength: number,
  ): Status;
  /**
   * Passes fds (253 at most) over a connected unix socket with one data byte at least; the bytes sent, or
   * −EAGAIN where it would wait. −EMSGSIZE from receiveFds: more fds came than `maxFds`, all are closed.
   */
  sendFds(socketFd: number, data: Uint8Array, fds: readonly number[]): Status;
  receiveFds(
    socketFd: number,
    maxBytes: number,
    maxFds: number,
  ): { readonly data: Uint8Array; readonly fds: number[] } | Status;
  /**
   * Sends one datagram to a unix socket, without waiting; the bytes sent. A leading NUL in `path` names an abstract
   * socket. −EINVAL for a path longer than sun_path (108 bytes).
   */
  sendDatagram(path: string, data: Uint8Array): Status;
  /** F_DUPFD_CLOEXEC. */
  duplicate(fd: number): Status;
  /**
   * A copy of a descriptor of another process: pidfd_open (≥ 5.3) and pidfd_getfd (≥ 5.6). −EPERM where that process
   * may not be traced. The pid can have become another process' since it was read: look at what came.
   */
  duplicateFrom(pid: number, fd: number): Status;
  /** Opens a file to read inside a namespace: one of /proc/thread-self/net goes on telling of that namespace. */
  openInNetns(netnsFd: number | undefined, path: string): Status;
  closeFd(fd: number): Status;
  /** flock(LOCK_EX | LOCK_NB); −EWOULDBLOCK when somebody else holds it. */
  lockFile(fd: number): Status;
  mount(source: string, target: string, type: string, flags: number, data: string): Status;
  unmount(target: string, flags: number): Status;
  /** Runs `unshare(CLONE_NEWNET)` on a throw-away thread and returns an fd of the new namespace (its lo is down unless `loUp`). */
  newNetns(loUp: boolean): Status;
}
