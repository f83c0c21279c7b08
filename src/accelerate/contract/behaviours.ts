// SPDX-License-Identifier: Apache-2.0
/**
 * What acceleration asks of a kernel's sockets. The one list, in the order of the report; docs/acceleration.md
 * shows it and a test compares the two.
 */

/** How far acceleration goes when the behaviour is not there, from nothing at all to one kind of program less. */
export type Need =
  /** Without it no socket enters a map. */
  | "any"
  /** Without it no socket of an application does; the proxies' own may. */
  | "application"
  /** Without it no application receives redirected bytes; what it sends may be redirected. */
  | "receiver"
  /** Without it only the programs named in `checked` keep their hands off; broken on every kernel that was tried. */
  | "readers"
  /** Acceleration does without it: nothing is ever done that would need it. */
  | "nothing";

export interface Behaviour {
  /** Kebab-case; the check of shunt-contract has the same name. */
  readonly name: string;
  readonly checked: string;
  readonly need: Need;
}

export const behaviours = [
  {
    name: "byte-order",
    checked:
      "short messages both ways, also on sockets that came late into the map; a stream that changes between redirection and TCP",
    need: "any",
  },
  {
    name: "byte-order-deferred-accept",
    checked: "bytes sent before the server's socket exists (TCP_DEFER_ACCEPT) come before those after it",
    need: "any",
  },
  {
    name: "half-read",
    checked: "a socket that comes into the map while its reader is in the midst of a packet: nothing twice",
    need: "any",
  },
  {
    name: "overlap",
    checked: "a retransmission that repeats bytes and brings others: nothing twice",
    need: "any",
  },
  { name: "eof-plain", checked: "bytes and FIN by TCP to a socket in a map, with both ends or one in it", need: "any" },
  { name: "close-after-write", checked: "close() right after 200 to 600 kB: all of it, then the end", need: "any" },
  { name: "half-close", checked: "a request ended by shutdown(), answered after it", need: "any" },
  { name: "reset", checked: "RST after redirected bytes, read or unread: all of them, then ECONNRESET", need: "any" },
  {
    name: "backpressure",
    checked: "a reader that does not read: the sender waits after budget and buffers, and is told when it may go on",
    need: "any",
  },
  {
    name: "poll",
    checked: "poll and select wake for redirected bytes, also who slept before the map, and for the end",
    need: "any",
  },
  { name: "epoll-level", checked: "level-triggered epoll: every message, what is left of it, the end", need: "any" },
  { name: "epoll-edge", checked: "edge-triggered epoll: every message, room to write", need: "any" },
  {
    name: "crash-undelivered",
    checked: "the programs' holder is gone: unread redirected bytes can be read, nothing is lost after them",
    need: "any",
  },
  { name: "fionread-plain", checked: "FIONREAD of bytes that TCP brought to a socket in a map", need: "application" },
  { name: "sendfile", checked: "sendfile from a socket in a map: complete, in order", need: "application" },
  { name: "splice-in", checked: "splice from a pipe to a socket in a map: complete, in order", need: "application" },
  { name: "mptcp-refused", checked: "the map takes no socket of an MPTCP connection", need: "application" },
  { name: "fionread-redirected", checked: "FIONREAD of redirected bytes", need: "receiver" },
  { name: "msg-peek", checked: "MSG_PEEK of redirected bytes shows them and leaves them", need: "receiver" },
  {
    name: "blocking-read-half-close",
    checked: "recv() that sleeps goes on when its own side is shut down (programs that read blocking)",
    need: "readers",
  },
  {
    name: "blocking-read-other-sender",
    checked: "recv() that sleeps goes on while another thread sends (programs that read blocking)",
    need: "readers",
  },
  {
    name: "blocking-read-signal",
    checked: "recv() that sleeps ends with EINTR at a signal, or starts again (programs that read blocking)",
    need: "readers",
  },
  {
    name: "splice-out",
    checked: "splice of redirected bytes to a pipe (programs that read with splice)",
    need: "readers",
  },
  { name: "rcvlowat", checked: "SO_RCVLOWAT holds for redirected bytes (programs that set it)", need: "readers" },
  { name: "waitall", checked: "MSG_WAITALL waits for all (programs that use it)", need: "readers" },
  {
    name: "oob",
    checked: "MSG_OOB comes beside the stream of redirected bytes (programs that send it)",
    need: "readers",
  },
  { name: "zero-copy", checked: "MSG_ZEROCOPY is completed (programs that use it)", need: "readers" },
  {
    name: "delete-undelivered",
    checked: "an entry deleted by hand: unread redirected bytes can be read; Shunt deletes none",
    need: "nothing",
  },
] as const satisfies readonly Behaviour[];

export type BehaviourName = (typeof behaviours)[number]["name"];
