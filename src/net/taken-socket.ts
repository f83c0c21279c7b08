// SPDX-License-Identifier: Apache-2.0
import { Socket } from "node:net";

/** A connected socket that has been read and written before Node had it: its counts go on from there. */
export class TakenSocket extends Socket {
  /** `fd` is the socket's. Both half-open and reading, as one that Node has connected. */
  constructor(fd: number, read: number, written: number) {
    super({ fd, allowHalfOpen: true, readable: true, writable: true });
    const counted = (name: "bytesRead" | "bytesWritten", before: number): void => {
      Object.defineProperty(this, name, {
        get: (): number => before + ((Reflect.get(Socket.prototype, name, this) as number | undefined) ?? 0),
      });
    };
    counted("bytesRead", read);
    counted("bytesWritten", written);
  }
}
