// SPDX-License-Identifier: Apache-2.0
/** Where agents keep their sockets; one folder per agent name. */
export const RUNTIME_FOLDER = "/run/shunt";

export function adminSocketPath(agentName: string): string {
  return `${RUNTIME_FOLDER}/${agentName}/admin.sock`;
}
