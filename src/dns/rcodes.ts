// SPDX-License-Identifier: Apache-2.0
/** Names of response codes 0 to 11 (IANA DNS parameters, RFC 6895 §2.3). */
export const rcodes: readonly string[] = [
  "NOERROR",
  "FORMERR",
  "SERVFAIL",
  "NXDOMAIN",
  "NOTIMP",
  "REFUSED",
  "YXDOMAIN",
  "YXRRSET",
  "NXRRSET",
  "NOTAUTH",
  "NOTZONE",
  "DSOTYPENI",
];
