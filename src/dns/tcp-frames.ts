// SPDX-License-Identifier: Apache-2.0
/** DNS over TCP: each message follows its length in two bytes (RFC 1035 §4.2.2, RFC 7766 §8). */

/** Takes a byte stream apart; `onMessage` gets a view that is the receiver's to keep. */
export class TcpFrames {
  readonly #onMessage: (message: Buffer) => void;
  #rest: Buffer = Buffer.alloc(0);

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  push(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= 2) {
      const end = 2 + bytes.readUInt16BE(0);
      if (bytes.length < end) break;
      this.#onMessage(bytes.subarray(2, end));
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  }

  /** Bytes of a message that is not complete. */
  get pendingBytes(): number {
    return this.#rest.length;
  }
}

/** Length and message in one buffer, so that they leave in one segment (RFC 7766 §8). */
export function frame(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(2 + message.length);
  framed.writeUInt16BE(message.length, 0);
  message.copy(framed, 2);
  return framed;
}
