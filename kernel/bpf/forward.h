/* SPDX-License-Identifier: GPL-2.0-only */
/* Translation of a segment from one leg to the other, and its way out. */
#ifndef SPLICE_FORWARD_H
#define SPLICE_FORWARD_H

#include "table.h"
#include "options.h"

/* What a translation does beyond the plain rewriting. */
enum forward_how {
	FORWARD_CLAMP = 1,	/* this leg still owes acknowledgements for the proxy's own data */
};

/*
 * Rewrite the packet for the leg it leaves on. Directions mirror each other: what is added to seq
 * one way is subtracted from ack the other way, likewise TSval and TSecr.
 */
static __noinline int translate(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
				__u32 direction, __u32 how)
{
	struct scratch *s = get_scratch();
	__u32 in = direction & 1, out = 1 - in;
	struct splice_record *r = &e->record;
	__u32 ack = p->ack, window = p->window;
	struct options *o;
	__s64 pseudo;

	if (!s)
		return -1;
	o = &s->options;
	o->edit = EDIT_SACK_ADD;
	window = window << (r->wscale_in[in] & 15);
	if (how & FORWARD_CLAMP) {
		__u32 lift = e->live.own_end[in] - ack;

		ack += lift;
		window = lift < window ? window - lift : 0;
		o->edit |= EDIT_SACK_REMOVE;
		count(SPLICE_CNT_CLAMPED);
	}
	window >>= r->wscale_out[out] & 15;

	*(__be16 *)(s->after + 0) = r->tuple[out].dport;
	*(__be16 *)(s->after + 2) = r->tuple[out].sport;
	set_seq(s, p->seq + r->seq_d[in]);
	if (p->flags & TCP_ACK)
		set_ack(s, ack - r->seq_d[out]);
	set_window(s, window > 65535 ? 65535 : window);

	o->edit |= r->options & (SPLICE_O_TS0 << out) ? EDIT_TS_ADD : EDIT_TS_REMOVE;
	o->tsval_d = r->tsval_d[in];
	o->tsecr_d = -r->tsval_d[out];
	o->sack_d = -r->seq_d[out];
	options_edit(s, p);
	if (o->malformed) {
		count(SPLICE_CNT_DROP_MALFORMED);
		return -1;
	}
	if (o->has_tsval && seq_after(o->tsval, e->live.ts_sent[out]))
		e->live.ts_sent[out] = o->tsval;

	if (ip_write(skb, p, ipv4_of(r->tuple[out].daddr), ipv4_of(r->tuple[out].saddr),
		     p->ip.ttl - 1, &pseudo) ||
	    tcp_write(skb, p->l4, p->header, pseudo)) {
		count(SPLICE_CNT_DROP_STORE);
		return -1;
	}
	e->live.packets[in] += 1;
	e->live.bytes[in] += p->payload;
	count(SPLICE_CNT_TRANSLATED);
	count_by(SPLICE_CNT_TRANSLATED_BYTES, p->payload);
	return 0;
}

/* Where the translated packet goes. Returns the answer of bpf_fib_lookup. */
static __always_inline long route(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
				  __u32 out, __u32 flags, struct bpf_fib_lookup *fib)
{
	fib->family = AF_INET;
	fib->l4_protocol = IPPROTO_TCP;
	fib->tos = p->ip.tos;
	fib->ipv4_src = ipv4_of(e->record.tuple[out].daddr);
	fib->ipv4_dst = ipv4_of(e->record.tuple[out].saddr);
	fib->ifindex = skb->ifindex;
	fib->tot_len = skb->gso_size ? p->l4 - ETH_HLEN + p->header + skb->gso_size
				     : bpf_ntohs(p->ip.tot_len);
	return bpf_fib_lookup(skb, fib, sizeof(*fib), flags);
}

static __always_inline void count_no_route(long answer)
{
	count(answer == BPF_FIB_LKUP_RET_FRAG_NEEDED ? SPLICE_CNT_DROP_MTU : SPLICE_CNT_DROP_ROUTE);
}

/* Translate the packet and send it on its way. Returns the tc verdict. */
static __always_inline int forward(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
				   __u32 direction, __u32 how)
{
	struct splice_tunables *t = get_tunables();
	struct bpf_fib_lookup fib = {};
	struct bpf_redir_neigh next = {};
	long answer = route(skb, p, e, 1 - direction, BPF_FIB_LOOKUP_SKIP_NEIGH, &fib);

	if (answer || !t) {
		count_no_route(answer);
		return TC_ACT_SHOT;
	}
	if (translate(skb, p, e, direction, how))
		return TC_ACT_SHOT;
	skb->mark = t->mark;
	next.nh_family = AF_INET;
	next.ipv4_nh = fib.ipv4_dst;
	return bpf_redirect_neigh(fib.ifindex, &next, sizeof(next), 0);
}

/*
 * Translate the packet and send a copy of it; what is left in skb is for the local socket. A copy
 * cannot wait for a neighbour to be resolved: then (-1) the caller forwards the packet itself.
 */
static __always_inline int forward_copy(struct __sk_buff *skb, struct packet *p,
					struct splice_entry *e, __u32 direction, __u32 how)
{
	struct splice_tunables *t = get_tunables();
	struct bpf_fib_lookup fib = {};
	__u32 mark = skb->mark;
	long answer = route(skb, p, e, 1 - direction, 0, &fib);

	if (answer || !t)
		return -1;
	if (translate(skb, p, e, direction, how))
		return 0;
	if (bpf_skb_store_bytes(skb, 0, fib.dmac, 6, 0) || bpf_skb_store_bytes(skb, 6, fib.smac, 6, 0)) {
		count(SPLICE_CNT_DROP_STORE);
		return 0;
	}
	skb->mark = t->mark;
	if (bpf_clone_redirect(skb, fib.ifindex, 0))
		count(SPLICE_CNT_DROP_STORE);
	skb->mark = mark;
	return 0;
}

#endif
