/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs of several scopes meet the same call: those of inner cgroups run first, and the
 * innermost decides. It leaves a claim that the ones after it read.
 *
 * No hook says that a call has ended, so a claim is told from one of an earlier call by what can
 * only be the same within one: the thread, and the destination as the claimant left it. After a
 * redirection that is the proxy's own port, which no application asks for. After a pass it is what
 * the application asked for, and may ask for again: such a claim is good for CLAIM_NS alone, which
 * a call stays far below and within which a claimant seldom goes away. A claimant itself never
 * heeds its own claim of a pass: it judges again. Enrolled cgroups around its own have programs as
 * well, all of which speak for the innermost: that many runs are one call, and counted once.
 */
#ifndef SHUNT_CLAIM_H
#define SHUNT_CLAIM_H

#include "addr.h"
#include "maps.h"
#include "verdict.h"

#define CLAIM_NS 50000000

enum claimed {
	CLAIMED_NOT,	  /* this is for us to decide */
	CLAIMED_DONE,	  /* redirected by an earlier run for the same workload */
	CLAIMED_BY_SLOT,  /* decided by an inner workload of this instance */
	CLAIMED_BY_OTHER, /* decided by another Shunt */
};

static __always_inline __u64 own_instance(void)
{
	__u32 zero = 0;
	struct settings *own = bpf_map_lookup_elem(&settings, &zero);

	return own ? own->instance : 0;
}

/* Has an inner program decided about this very call? `programs`: how many speak for the slot. */
static __always_inline enum claimed claim_of(struct decision *d, __u32 programs)
{
	struct claim *claim = bpf_map_lookup_elem(&claims, &d->cookie);

	d->runs = 1;
	if (!claim || claim->pid_tgid != bpf_get_current_pid_tgid() ||
	    claim->left_port != d->destination_port || !addr_equal(&claim->left, &d->destination))
		return CLAIMED_NOT;
	if (!claim->redirected && bpf_ktime_get_ns() - claim->created_ns > CLAIM_NS)
		return CLAIMED_NOT;
	if (claim->instance != own_instance())
		return CLAIMED_BY_OTHER;
	if (claim->slot != d->slot)
		return CLAIMED_BY_SLOT;
	if (claim->redirected)
		return CLAIMED_DONE;
	if (claim->runs < programs)
		d->runs += claim->runs;
	return CLAIMED_NOT;
}

/* The call is ours; `left` is where it goes from here. */
static __always_inline void claim_call(const struct decision *d, const struct ip_addr *left,
				       __be16 left_port)
{
	struct claim mine = {
		.instance = own_instance(),
		.pid_tgid = bpf_get_current_pid_tgid(),
		.created_ns = bpf_ktime_get_ns(),
		.left = *left,
		.left_port = left_port,
		.redirected = d->verdict == VERDICT_REDIRECT,
		.runs = d->runs,
		.slot = d->slot,
	};

	bpf_map_update_elem(&claims, &d->cookie, &mine, BPF_ANY);
}

#endif
