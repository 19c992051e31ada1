/* SPDX-License-Identifier: GPL-2.0-only */
/* Translation of a segment from one leg to the other, and its way out. */
#ifndef SPLICE_FORWARD_H
#define SPLICE_FORWARD_H

#include "table.h"
#include "options.h"
#include "answer.h"

#define MTU_MIN_IPV4 576	/* what every host can reassemble, RFC 791; PMTU below it is an attack */
#define MTU_MIN_IPV6 1280	/* RFC 8200 section 5 */
#define WAY_NS (10 * NS_PER_MS)	/* so late at most is a change of the routing table noticed */

/* What a translation does beyond the plain rewriting. */
enum forward_how {
	FORWARD_CLAMP = 1,	/* this leg still owes acknowledgements for the proxy's own data */
};

static __always_inline bool leg_is_ipv6(const struct splice_entry *e, __u32 leg)
{
	return !is_ipv4(e->record.tuple[leg].saddr);
}

static __always_inline bool leg_has_ecn(const struct splice_entry *e, __u32 leg)
{
	return e->record.options & (SPLICE_O_ECN0 << leg);
}

/*
 * Rewrite the TCP header, in s->after, for the leg that the segment leaves on. Directions mirror each other:
 * what is added to seq one way is subtracted from ack the other way, likewise TSval and TSecr. The packet
 * itself is as it was. Returns -1, counted, when it cannot be translated.
 */
static __noinline int translate_header(struct packet *p, struct splice_entry *e, __u32 direction,
				       __u32 how)
{
	struct scratch *s = get_scratch();
	__u32 in = direction & 1, out = 1 - in;
	struct splice_record *r = &e->record;
	__u32 ack = p->ack, window = p->window;
	struct options *o;

	if (!s)
		return -1;
	o = &s->options;
	o->edit = EDIT_SACK_ADD;
	window = window << (r->wscale_in[in] & 15);
	if (how & FORWARD_CLAMP) {
		__u32 lift = e->live.own_end[in] - ack;

		ack += lift;
		window = lift < window ? window - lift : 0;
		o->edit = EDIT_SACK_REMOVE;
	}
	window >>= r->wscale_out[out] & 15;

	*(__be16 *)(s->after + 0) = r->tuple[out].dport;
	*(__be16 *)(s->after + 2) = r->tuple[out].sport;
	set_seq(s, p->seq + r->seq_d[in]);
	if (p->flags & TCP_ACK)
		set_ack(s, ack - r->seq_d[out]);
	set_window(s, window > 65535 ? 65535 : window);
	if (!leg_has_ecn(e, out)) {
		s->after[12] &= ~TCP_AE;
		s->after[13] &= ~(TCP_ECE | TCP_CWR);
	}

	o->edit |= r->options & (SPLICE_O_TS0 << out) ? EDIT_TS_ADD : EDIT_TS_REMOVE;
	o->tsval_d = r->tsval_d[in];
	o->tsecr_d = -r->tsval_d[out];
	o->sack_d = -r->seq_d[out];
	options_edit(s, p);
	if (o->malformed || (p->v6 && !leg_is_ipv6(e, out) && p->l4 != ETH_HLEN + IPV6_HEADER)) {
		COUNT_DROP(DROP_MALFORMED, r->id);
		return -1;
	}
	return 0;
}

/* Make the packet what translate_header has prepared. Returns -1, counted, when the kernel does not let it. */
static __noinline int translate(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
				__u32 direction)
{
	struct scratch *s = get_scratch();
	__u32 in = direction & 1, out = 1 - in;
	struct splice_record *r = &e->record;
	struct ip_change to;
	bool exchange = p->v6 != leg_is_ipv6(e, out);
	__s64 pseudo;
	int error;

	if (!s)
		return -1;
	if (debugging(DEBUG_PACKETS))
		bpf_printk("splice %llu: direction %u seq %u ack %u flags %x payload %u", r->id, in,
			   p->seq, p->ack, p->flags, p->payload);
	to.saddr = r->tuple[out].daddr;
	to.daddr = r->tuple[out].saddr;
	to.hops = p->hops - 1;
	/* where nobody would echo a mark routers are to drop instead (RFC 3168 section 6.1) */
	to.tos = leg_has_ecn(e, out) ? p->tos : p->tos & ~ECN_MASK;
	if (!p->v6 && p->ip.ihl > 5 && !exchange && blank_ip_options(skb, p))
		error = -1;
	else if (exchange)
		error = ip_exchange(skb, p, &to, &pseudo);
	else if (p->v6)
		error = ipv6_change(skb, p, &to, &pseudo);
	else
		error = ipv4_change(skb, p, &to, &pseudo);
	if (error ||
	    tcp_write(skb, !exchange ? p->l4 : ETH_HLEN + (p->v6 ? IPV4_HEADER : IPV6_HEADER),
		      p->header, pseudo)) {
		COUNT_DROP(DROP_STORE, r->id);
		return -1;
	}
	if (s->options.has_tsval && seq_after(s->options.tsval, e->live.ts_sent[out]))
		e->live.ts_sent[out] = s->options.tsval;
	e->live.packets[in] += 1;
	e->live.bytes[in] += p->payload;
	count(SPLICE_CNT_TRANSLATED);
	count_by(SPLICE_CNT_TRANSLATED_BYTES, p->payload);
	return 0;
}

/* Length of the IP packet, or of each of a bundle, as it leaves. */
static __always_inline __u32 leaving_length(const struct packet *p, bool v6)
{
	__u32 ip = p->v6 == v6 ? p->l4 - ETH_HLEN : v6 ? IPV6_HEADER : IPV4_HEADER;

	return ip + p->header + (p->gso ? p->gso : p->payload);
}

/* The longest IP packet that a leg's far end has said it accepts. */
static __always_inline __u32 leg_limit(const struct splice_entry *e, __u32 leg, bool v6)
{
	__u32 min = v6 ? MTU_MIN_IPV6 : MTU_MIN_IPV4;
	__u32 limit = e->record.mss[leg] + 20 + (v6 ? IPV6_HEADER : IPV4_HEADER);

	if (!e->record.mss[leg])
		return 65535;
	return limit < min ? min : limit;
}

/*
 * The way to a leg's far end for IP packets of so many octets, into s->fib. Returns the answer of
 * bpf_fib_lookup; that the neighbour is not known yet is none (BPF_FIB_LOOKUP_SKIP_NEIGH came with kernel 6.3).
 */
static __noinline long route(struct __sk_buff *skb, struct scratch *s,
			     const struct splice_tuple *to, __u32 length)
{
	struct bpf_fib_lookup *fib = &s->fib;

	__builtin_memset(fib, 0, sizeof(*fib));
	fib->l4_protocol = IPPROTO_TCP;
	fib->ifindex = skb->ifindex;
	fib->tot_len = length;
	if (is_ipv4(to->saddr)) {
		fib->family = AF_INET;
		fib->tos = s->packet.tos & ~ECN_MASK;
		fib->ipv4_src = ipv4_of(to->daddr);
		fib->ipv4_dst = ipv4_of(to->saddr);
	} else {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, to->daddr, 16);
		__builtin_memcpy(fib->ipv6_dst, to->saddr, 16);
	}
	return bpf_fib_lookup(skb, fib, sizeof(*fib), 0);
}

/* The way that the last packets to this leg took, if it is still good for one more. */
static __always_inline struct way *remembered(const struct scratch *s, __u32 out)
{
	__u32 key = (s->leg.slot * 2 + out) & (WAYS - 1);

	return bpf_map_lookup_elem(&ways, &key);
}

static __always_inline bool still_good(struct __sk_buff *skb, const struct scratch *s,
				       const struct way *w, __u32 out, __u32 length)
{
	return w->id == s->leg.id && w->out == out && s->now < w->until_ns &&
	       w->in_ifindex == skb->ifindex && w->tos == s->packet.tos && length <= w->mtu;
}

static __always_inline void remember(struct __sk_buff *skb, const struct scratch *s, struct way *w,
				     __u32 out)
{
	w->id = s->leg.id;
	w->out = out;
	w->until_ns = s->now + WAY_NS;
	w->in_ifindex = skb->ifindex;
	w->ifindex = s->fib.ifindex;
	w->mtu = s->fib.mtu_result;	/* as long as the neighbour is not known: the length asked for */
	w->tos = s->packet.tos;
	w->family = s->fib.family;
	__builtin_memcpy(w->next_hop, s->fib.ipv6_dst, 16);
}

static __always_inline bool routed(long answer)
{
	return answer == BPF_FIB_LKUP_RET_SUCCESS || answer == BPF_FIB_LKUP_RET_NO_NEIGH;
}

/* Hand the packet to the neighbour that the look-up has found. Returns the verdict. */
static __noinline int send_by(struct __sk_buff *skb)
{
	struct splice_tunables *t = get_tunables();
	struct scratch *s = get_scratch();
	struct bpf_redir_neigh next = {};

	if (!t || !s)
		return TC_ACT_SHOT;
	skb->mark = t->mark;
	next.nh_family = s->fib.family;
	if (s->fib.family == AF_INET)
		next.ipv4_nh = s->fib.ipv4_dst;
	else
		__builtin_memcpy(next.ipv6_nh, s->fib.ipv6_dst, 16);
	return bpf_redirect_neigh(s->fib.ifindex, &next, sizeof(next), 0);
}

/* Cut a bundle into segments that are shorter by so much: growing it takes that off their size. */
static __always_inline int resize_bundle(struct __sk_buff *skb, __s32 by)
{
	if (by <= 0 || by > 0xfff || bpf_skb_adjust_room(skb, by, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	count(SPLICE_CNT_GSO_RESIZED);
	return bpf_skb_adjust_room(skb, -by, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

static __always_inline int too_big(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
				   bool v6, __u32 limit)
{
	COUNT_DROP(DROP_MTU, e->record.id);
	if (p->piece != PIECE_WHOLE)
		return TC_ACT_SHOT;
	if (p->v6 && !v6)
		limit += IPV6_HEADER - IPV4_HEADER;
	else if (!p->v6 && v6)
		limit -= IPV6_HEADER - IPV4_HEADER;
	return answer_error(skb, p, ICMP_TOO_BIG, limit);
}

/* Make a packet fit that is longer than limit. Returns 0, or -1: it cannot be made to. */
static __noinline int make_fit(struct __sk_buff *skb, struct packet *p, bool v6, __u32 limit)
{
	__u32 length = leaving_length(p, v6), bare;

	if (p->gso) {
		__u32 by = length - limit;

		return p->gso > by ? resize_bundle(skb, by) : -1;
	}
	if (p->v6 || p->ip.frag_off & bpf_htons(IP_DF) || p->piece != PIECE_WHOLE)
		return -1;
	/* its sender allows fragments, so it would not hear of the limit: the rest it will send again */
	bare = length - p->payload;
	if (limit <= bare + 8 || cut_payload(skb, p, (limit - bare) & ~1u))
		return -1;
	count(SPLICE_CNT_TRIMMED);
	return 0;
}

/*
 * Look up the way, and see that the packet fits it. Returns TC_ACT_OK, or another verdict that is final.
 */
static __noinline int find_way(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
			       __u32 out)
{
	bool v6 = leg_is_ipv6(e, out & 1);
	const struct splice_tuple *to = &e->record.tuple[out & 1];
	__u32 length = leaving_length(p, v6), limit = leg_limit(e, out & 1, v6);
	struct scratch *s = get_scratch();
	struct way *w;
	long answer;

	if (!s)
		return TC_ACT_SHOT;
	s->now = bpf_ktime_get_ns();
	w = remembered(s, out & 1);
	if (w && length <= limit && still_good(skb, s, w, out & 1, length)) {
		s->fib.ifindex = w->ifindex;
		s->fib.family = w->family;
		__builtin_memcpy(s->fib.ipv6_dst, w->next_hop, 16);
		return TC_ACT_OK;
	}
	answer = route(skb, s, to, length < limit ? length : limit);
	if (answer == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		limit = s->fib.mtu_result;
	} else if (routed(answer) && length <= limit) {
		if (w)
			remember(skb, s, w, out & 1);
		return TC_ACT_OK;
	}
	if (answer == BPF_FIB_LKUP_RET_FRAG_NEEDED || routed(answer)) {
		if (make_fit(skb, p, v6, limit))
			return too_big(skb, p, e, v6, limit);
		answer = route(skb, s, to, limit);
		if (routed(answer))
			return TC_ACT_OK;
	}
	COUNT_DROP(DROP_ROUTE, e->record.id);
	return TC_ACT_SHOT;
}

#endif
