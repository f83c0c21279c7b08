/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Access to context fields, one field at a time. clang otherwise merges neighbouring loads and
 * stores, or loads of two branches into one with a computed offset: the verifier refuses both
 * (user_ip6[] before 5.4, a modified context pointer on every kernel).
 */
#ifndef SHUNT_CONTEXT_H
#define SHUNT_CONTEXT_H

#define CTX_LOAD(type, ctx, field)                                              \
	({                                                                      \
		__u64 value_;                                                   \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                           \
			     : "=r"(value_)                                     \
			     : "r"(ctx), "i"(__builtin_offsetof(type, field))); \
		(__u32) value_;                                                 \
	})

#define CTX_STORE(type, ctx, field, new_value)                                                 \
	asm volatile("*(u32 *)(%0 + %1) = %2"                                                  \
		     :                                                                         \
		     : "r"(ctx), "i"(__builtin_offsetof(type, field)), "r"((__u64)(new_value)) \
		     : "memory")

#endif
