// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_BPF_FD_H_
#define SHUNT_BPF_FD_H_

#include <bpf/bpf.h>
#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "owned-fd.h"

namespace shunt {

inline constexpr const char* kMapInode = "anon_inode:bpf-map";
inline constexpr const char* kProgramInode = "anon_inode:bpf-prog";
/** "bpf_link" when created, "bpf-link" when opened again (kernel/bpf/syscall.c). */
inline constexpr const char* kLinkInode = "anon_inode:bpf?link";

/**
 * 0, or −EINVAL when `fd` is another kind of kernel object. BPF_OBJ_GET_INFO_BY_FD fills whatever
 * structure belongs to the descriptor, so the kind has to be known first; only the text of the magic link tells. '?' in
 * `inode` is any character.
 */
inline int CheckKind(int fd, std::string_view inode) {
  char path[32];
  char target[64];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  ssize_t length = readlink(path, target, sizeof(target));
  if (length < 0) return errno == ENOENT ? -EBADF : -errno;
  if (static_cast<size_t>(length) != inode.size()) return -EINVAL;
  for (size_t i = 0; i < inode.size(); i++) {
    if (inode[i] != '?' && inode[i] != target[i]) return -EINVAL;
  }
  return 0;
}

/** A close-on-exec duplicate, or −errno. */
inline int Duplicate(int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return copy < 0 ? -errno : copy;
}

template <typename Info>
int GetInfo(int fd, Info* info) {
  __u32 length = sizeof(*info);
  std::memset(info, 0, sizeof(*info));
  return bpf_obj_get_info_by_fd(fd, info, &length);
}

}  // namespace shunt
#endif  // SHUNT_BPF_FD_H_
