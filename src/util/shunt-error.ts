// SPDX-License-Identifier: Apache-2.0
/** Every failure this program raises on purpose. `code` is stable and documented; the message is for people. */
export class ShuntError<Code extends string = string> extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Finds the first error of a kind along the chain of causes. */
export function causedBy<E extends Error>(error: unknown, type: abstract new (...args: never[]) => E): E | undefined {
  for (let e = error; e instanceof Error; e = e.cause) if (e instanceof type) return e;
  return undefined;
}
