// SPDX-License-Identifier: Apache-2.0
/** enum bpf_attach_type of <linux/bpf.h>, as far as Shunt meets it: user-space interface, the numbers never change. */
export const AttachType = {
  CgroupInetIngress: 0,
  CgroupInetEgress: 1,
  CgroupSockOps: 3,
  SkSkbStreamVerdict: 5,
  SkMsgVerdict: 7,
  CgroupInet4Connect: 10,
  CgroupInet6Connect: 11,
  CgroupUdp4Sendmsg: 14,
  CgroupUdp6Sendmsg: 15,
  CgroupUdp4Recvmsg: 19,
  CgroupUdp6Recvmsg: 20,
  CgroupGetsockopt: 21,
  CgroupInet4Getpeername: 29,
  CgroupInet6Getpeername: 30,
  SkLookup: 36,
  TcxIngress: 46,
  TcxEgress: 47,
  NetkitPrimary: 54,
  NetkitPeer: 55,
} as const;
