/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few fields of the kernel's own structures that are read. Their places are those of the
 * running kernel: libbpf corrects every access by its BTF (CO-RE), so an object with this header
 * needs CONFIG_DEBUG_INFO_BTF.
 */
#ifndef SHUNT_KERNEL_H
#define SHUNT_KERNEL_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpadded"

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	__s64 counter;
} atomic64_t;

/* include/linux/fs.h */
struct inode {
	unsigned long i_ino;
};

struct cred;

struct file {
	unsigned int f_flags;
	struct inode *f_inode;
	const struct cred *f_cred;
};

/* include/linux/sched.h */
struct task_struct {
	int tgid;
};

/* include/linux/net.h */
struct socket {
	struct file *file;
};

/* include/net/sock.h */
struct proto {
	unsigned long *memory_pressure;
};

struct sock_common {
	unsigned char skc_state;
	struct proto *skc_prot;
	unsigned long skc_flags;
	atomic64_t skc_cookie;
};

enum sock_flags {
	SOCK_URGINLINE,
	SOCK_RCVTSTAMP,
	SOCK_ZEROCOPY,
};

struct sock {
	struct sock_common __sk_common;
	int sk_rcvlowat;
	int sk_rcvbuf;
	int sk_peek_off;
	__u32 sk_tsflags;
	struct {
		atomic_t rmem_alloc;
	} sk_backlog;
	int sk_wmem_queued;
	int sk_sndbuf;
	int sk_err;
	struct socket *sk_socket;
	void *sk_user_data;
};

/* include/linux/list.h */
struct list_head {
	struct list_head *next;
};

/* include/linux/skbuff.h */
struct sk_buff_head {
	__u32 qlen;
};

/* include/linux/skmsg.h */
struct sk_psock {
	struct list_head ingress_msg;
	struct sk_buff_head ingress_skb;
};

/* include/net/inet_connection_sock.h; begins with its struct sock */
struct inet_connection_sock {
	const void *icsk_ulp_ops;
};

/* include/linux/tcp.h; begins with its struct inet_connection_sock */
struct tcp_sock {
	__u32 write_seq;
	__u32 snd_nxt;
	__u32 copied_seq;
	__u32 rcv_nxt;
};

#pragma clang diagnostic pop
#pragma clang attribute pop

/*
 * READ(sk, sk_socket, file): a field, through any pointers on its way, of an object that may be
 * gone; 0 then. A plain load that may fault, where the kernel has such; objects that must load
 * before Linux 6.2 define READS_BY_HELPER, which costs some 20 ns for each pointer.
 */
#ifdef READS_BY_HELPER
#define READ(object, ...) BPF_CORE_READ(object, __VA_ARGS__)
#else
/* The verifier makes a move of it. */
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym;

#define READ(object, ...)                                                                         \
	({                                                                                        \
		typeof(object) __object = (object);                                               \
		__object = bpf_rdonly_cast(__object, bpf_core_type_id_kernel(typeof(*__object))); \
		___arrow(__object, __VA_ARGS__);                                                  \
	})
#endif

#endif
