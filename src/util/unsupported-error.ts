// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "./shunt-error.ts";

/** What was asked is not possible on this machine, whatever the arguments; the command line ends with status 69. */
export abstract class ImpossibleHereError<Code extends string> extends ShuntError<Code> {}

/** One without a code of its own. */
export class UnsupportedError extends ImpossibleHereError<"ERR_UNSUPPORTED"> {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_UNSUPPORTED", message, options);
  }
}
