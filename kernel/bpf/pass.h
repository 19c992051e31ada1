/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A segment on its way through a splice, whole: rewritten, a way found, taken in, sent. In this order, so
 * that what is dropped teaches nothing: a FIN that never reached its receiver must not close the splice.
 */
#ifndef SPLICE_PASS_H
#define SPLICE_PASS_H

#include "track.h"
#include "fragment.h"

static __always_inline void count_how(__u32 how)
{
	if (how & FORWARD_CLAMP)
		count(SPLICE_CNT_CLAMPED);
}

/* TC_ACT_OK: nothing keeps the packet from its receiver. Any other verdict is final. */
static __always_inline int forward_ready(struct __sk_buff *skb, struct packet *p,
					 struct splice_entry *e, __u32 direction)
{
	if (translate_header(p, e, direction, 0))
		return TC_ACT_SHOT;
	return find_way(skb, p, e, 1 - direction);
}

static __always_inline int forward_go(struct __sk_buff *skb, struct packet *p,
				      struct splice_entry *e, __u32 direction)
{
	struct scratch *s = get_scratch();

	if (s && p->piece == PIECE_FIRST)
		fragment_note(p, &s->leg);
	return translate(skb, p, e, direction) ? TC_ACT_SHOT : send_by(skb);
}

/* Send a packet on its way whose header is translated already. Returns the tc verdict. */
static __noinline int forward_translated(struct __sk_buff *skb, struct packet *p,
					 struct splice_entry *e, __u32 direction, __u32 how)
{
	struct scratch *s = get_scratch();
	int verdict = find_way(skb, p, e, 1 - direction);

	if (verdict != TC_ACT_OK || !s)
		return verdict;
	take_in(e, direction, p, s->now);
	count_how(how);
	return forward_go(skb, p, e, direction);
}

/* Translate the packet and send it on its way. Returns the tc verdict. */
static __always_inline int forward(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
				   __u32 direction)
{
	if (translate_header(p, e, direction, 0))
		return TC_ACT_SHOT;
	return forward_translated(skb, p, e, direction, 0);
}

/* Ethernet header of a packet that we send ourselves. */
static __always_inline int write_ethernet(struct __sk_buff *skb, const struct bpf_fib_lookup *fib,
					  bool v6)
{
	__be16 type = v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);

	return bpf_skb_store_bytes(skb, 0, fib->dmac, 6, 0) ||
	       bpf_skb_store_bytes(skb, 6, fib->smac, 6, 0) ||
	       bpf_skb_store_bytes(skb, 12, &type, 2, 0);
}

/* What became of a copy. */
enum copied { COPY_SENT, COPY_DROPPED, COPY_NO_WAY };

/*
 * Send a copy of the packet, whose header is translated already; what is left in skb, headers as they came,
 * is for the local socket. A copy cannot wait for a neighbour to be resolved, nor be made to fit: then
 * (COPY_NO_WAY) the caller forwards the packet itself.
 */
static __noinline enum copied forward_copy(struct __sk_buff *skb, struct packet *p,
					   struct splice_entry *e, __u32 direction, __u32 how)
{
	struct splice_tunables *t = get_tunables();
	struct scratch *s = get_scratch();
	__u32 out = (1 - direction) & 1, mark = skb->mark, length;
	bool v6 = leg_is_ipv6(e, out);

	if (!t || !s)
		return COPY_DROPPED;
	length = leaving_length(p, v6);
	if (length > leg_limit(e, out, v6) || route(skb, s, &e->record.tuple[out], length))
		return COPY_NO_WAY;
	take_in(e, direction, p, bpf_ktime_get_ns());
	count_how(how);
	if (translate(skb, p, e, direction))
		return COPY_DROPPED;
	skb->mark = t->mark;
	if (write_ethernet(skb, &s->fib, v6) || bpf_clone_redirect(skb, s->fib.ifindex, 0))
		count(SPLICE_CNT_DROP_STORE);
	skb->mark = mark;
	if ((p->v6 != v6 &&
	     bpf_skb_change_proto(skb, p->v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0)) ||
	    write_back(skb, p)) {
		count(SPLICE_CNT_DROP_STORE);
		return COPY_DROPPED;
	}
	return COPY_SENT;
}

#endif
