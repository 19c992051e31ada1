/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fragments of spliced segments. The first carries all of TCP's header, so it is translated like any
 * segment (the checksum changes by a difference, whatever is in the rest); it is noted, so that the
 * later ones, which carry no ports, follow it.
 */
#ifndef SPLICE_FRAGMENT_H
#define SPLICE_FRAGMENT_H

#include "forward.h"

static __always_inline void fragment_key(const struct packet *p, struct fragment_key *key)
{
	__builtin_memcpy(key->saddr, p->tuple.saddr, 16);
	__builtin_memcpy(key->daddr, p->tuple.daddr, 16);
	key->id = p->fragment;
}

/* Fragments pass only between sockets that are gone, in one family. */
static __always_inline bool fragment_passes(struct splice_entry *e, control_t c)
{
	return control_replicable(c) && leg_is_ipv6(e, 0) == leg_is_ipv6(e, 1);
}

/* Note a first fragment, now that it goes out. */
static __noinline void fragment_note(struct packet *p, const struct splice_leg_ref *leg)
{
	struct fragment_key key;

	fragment_key(p, &key);
	bpf_map_update_elem(&fragments, &key, leg, BPF_ANY);
	count(SPLICE_CNT_FRAGMENTS);
}

/* A later fragment: new addresses, on the way of the first. Returns the verdict. */
static __noinline int fragment_later(struct __sk_buff *skb, struct packet *p)
{
	struct scratch *s = get_scratch();
	struct fragment_key key;
	struct splice_leg_ref *ref;
	struct splice_entry *e;
	struct ip_change to;
	long answer;
	__u32 out;
	__s64 pseudo;

	if (!s)
		return TC_ACT_OK;
	fragment_key(p, &key);
	ref = bpf_map_lookup_elem(&fragments, &key);
	e = ref ? entry_of(ref) : NULL;
	if (!e)
		return TC_ACT_OK;
	out = 1 - (ref->leg & 1);
	if (!fragment_passes(e, control_read(e))) {
		COUNT_DROP(DROP_FRAGMENT, ref->id);
		return TC_ACT_SHOT;
	}
	if (p->hops <= 1) {
		COUNT_DROP(DROP_TTL, ref->id);
		return TC_ACT_SHOT;
	}
	if ((p->tos & ECN_MASK) == ECN_CE && !leg_has_ecn(e, out)) {
		COUNT_DROP(DROP_ECN, ref->id);
		return TC_ACT_SHOT;
	}
	answer = route(skb, s, &e->record.tuple[out], p->end - ETH_HLEN);
	if (answer == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		COUNT_DROP(DROP_MTU, ref->id);
		return TC_ACT_SHOT;
	}
	if (!routed(answer)) {
		COUNT_DROP(DROP_ROUTE, ref->id);
		return TC_ACT_SHOT;
	}
	to.saddr = e->record.tuple[out].daddr;
	to.daddr = e->record.tuple[out].saddr;
	to.hops = p->hops - 1;
	to.tos = leg_has_ecn(e, out) ? p->tos : p->tos & ~ECN_MASK;
	if ((!p->v6 && p->ip.ihl > 5 && blank_ip_options(skb, p)) ||
	    (p->v6 ? ipv6_change(skb, p, &to, &pseudo) : ipv4_change(skb, p, &to, &pseudo))) {
		COUNT_DROP(DROP_STORE, ref->id);
		return TC_ACT_SHOT;
	}
	count(SPLICE_CNT_FRAGMENTS);
	return send_by(skb);
}

#endif
