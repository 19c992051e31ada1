/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets that come in: the guard, the hold, the splice. */
#ifndef SPLICE_INGRESS_H
#define SPLICE_INGRESS_H

#include "pass.h"
#include "icmp.h"
#include "fence.h"

/*
 * A packet for a virtual address that belongs to no splice. While this node is about to take over,
 * the stack would answer the live flows that are still to be committed by RST: such packets are held
 * back (dropped; TCP sends them again). What belongs to a socket passes, and so do SYNs to listening
 * ports; during a planned hand-over SYNs are dropped instead, and come again to the next owner.
 */
static __noinline int guard_verdict(struct __sk_buff *skb, struct packet *p)
{
	struct splice_tunables *t = get_tunables();
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	bool opening = (p->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
	__u32 state = 0;

	if (!t || (!t->guard_until_ns && !t->draining))
		return TC_ACT_OK;
	if (!bpf_map_lookup_elem(&guard, p->tuple.daddr))
		return TC_ACT_OK;
	if (t->draining && opening) {
		count(SPLICE_CNT_DRAIN_SYN);
		return TC_ACT_SHOT;
	}
	if (bpf_ktime_get_ns() > t->guard_until_ns)
		return TC_ACT_OK;
	if (p->v6) {
		__builtin_memcpy(tuple.ipv6.saddr, p->tuple.saddr, 16);
		__builtin_memcpy(tuple.ipv6.daddr, p->tuple.daddr, 16);
		tuple.ipv6.sport = p->tuple.sport;
		tuple.ipv6.dport = p->tuple.dport;
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		tuple.ipv4.saddr = p->ip.saddr;
		tuple.ipv4.daddr = p->ip.daddr;
		tuple.ipv4.sport = p->tuple.sport;
		tuple.ipv4.dport = p->tuple.dport;
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (sk) {
		state = sk->state;
		bpf_sk_release(sk);
	}
	if (state && (state != TCP_STATE_LISTEN || opening))
		return TC_ACT_OK;
	count(SPLICE_CNT_GUARD_HELD);
	return TC_ACT_SHOT;
}

/* A segment that belongs to no splice. */
static __noinline int not_spliced(struct __sk_buff *skb, struct packet *p)
{
	struct listen_key key = {};
	__u8 *options;

	if ((p->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN && p->piece == PIECE_WHOLE) {
		__builtin_memcpy(key.address, p->tuple.daddr, 16);
		key.port = p->tuple.dport;
		options = bpf_map_lookup_elem(&listeners, &key);
		if (options && align_syn(skb, p, *options))
			return TC_ACT_SHOT;
	}
	return guard_verdict(skb, p);
}

/*
 * A SYN on a live entry is never translated, and it must not vanish for good: its sender is asked by
 * a keep-alive (RFC 9293 section 3.8.4) whether the old connection still exists. A live end answers
 * by an ACK, and traffic restores the timeout; one that has forgotten the connection answers by RST,
 * or not at all. Either way the entry goes and the SYN's next copy passes.
 */
static __always_inline int probe_sender(struct __sk_buff *skb, struct packet *p,
					struct splice_entry *e, __u32 leg)
{
	struct splice_tunables *t = get_tunables();
	__u32 in = leg & 1, mine, theirs;

	if (!t)
		return TC_ACT_SHOT;
	count(SPLICE_CNT_SYN_PROBED);
	shorten(e, bpf_ktime_get_ns(), t->timeout_ms[SPLICE_TIMEOUT_PROBE]);
	theirs = e->live.seen[in] ? e->live.seen_end[in] : e->record.base[in];
	mine = e->live.seen[in] ? e->live.seen_ack[in]
				: e->record.base[1 - in] + e->record.seq_d[1 - in];
	return answer_segment(skb, p, mine - 1, theirs, TCP_ACK);
}

/*
 * After a reset has torn the splice down, whoever still sends is told so (Symmetric TCP Splice thesis,
 * section 5.1; RFC 9293 section 3.10.7.1): the reset that was passed on may have been lost. A reset that
 * is sent again is passed on again.
 */
static __always_inline int late_segment(struct __sk_buff *skb, struct packet *p,
					struct splice_entry *e)
{
	COUNT_DROP(LATE_RESET, e->record.id);
	if (p->flags & TCP_ACK)
		return answer_segment(skb, p, p->ack, 0, TCP_RST);
	return answer_segment(skb, p, 0, p->seq + p->payload + !!(p->flags & TCP_FIN),
			      TCP_RST | TCP_ACK);
}

static __always_inline int syn_on_entry(struct __sk_buff *skb, struct packet *p,
					struct splice_entry *e, struct splice_leg_ref *ref,
					control_t c)
{
	if (fence_in(skb) != TC_ACT_OK)
		return TC_ACT_SHOT;	/* a new connection is for the owner of the address */
	if (!control_finished(c))
		return probe_sender(skb, p, e, ref->leg);
	if (p->flags & TCP_ACK) {
		COUNT_DROP(DROP_MALFORMED, ref->id);
		return TC_ACT_SHOT;
	}
	count(SPLICE_CNT_SYN_REUSED);
	e->live.unproven = 0;
	entry_remove(e, ref->slot, ref->id, true);
	return not_spliced(skb, p);
}

/*
 * Hand the local socket a segment without payload that carries the news for it: the acknowledgement,
 * up to the end of its own data. Its sequence number must be the one that the socket expects next, or
 * the socket drops the news with the segment.
 */
static __noinline int local_copy(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
				 __u32 leg)
{
	struct scratch *s = get_scratch();
	__u32 in = leg & 1, end = e->live.own_end[in];

	if (!s)
		return TC_ACT_SHOT;
	__builtin_memcpy(s->after, s->before, sizeof(s->before));
	if (p->payload && cut_payload(skb, p, 0)) {
		COUNT_DROP(DROP_STORE, e->record.id);
		return TC_ACT_SHOT;
	}
	set_seq(s, e->live.local_next[in]);
	if (seq_after(p->ack, end))
		set_ack(s, end);
	s->after[13] = TCP_ACK;
	*(__be16 *)(s->after + 18) = 0;
	if (tcp_write(skb, p->l4, p->header, 0)) {
		COUNT_DROP(DROP_STORE, e->record.id);
		return TC_ACT_SHOT;
	}
	count(SPLICE_CNT_LOCAL_COPY);
	return TC_ACT_OK;
}

/*
 * Data that the proxy has read already, sent again because the hold kept its acknowledgement back.
 * It must not be forwarded while the other end may still miss the proxy's own copy of it; the local
 * socket, which has it, answers with the acknowledgement that is missing.
 */
static __always_inline int old_data(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
				    __u32 leg, bool owes_ack)
{
	struct scratch *s = get_scratch();
	__u32 in = leg & 1;

	take_in(e, in, p, bpf_ktime_get_ns());
	count(SPLICE_CNT_OLD_DATA);
	if (s)
		__builtin_memcpy(s->after, s->before, sizeof(s->before));
	if (owes_ack && !seq_before(p->ack, e->live.own_end[in]))
		return local_copy(skb, p, e, in);
	if (!s || seq_after(p->seq + p->payload, e->live.local_next[in]) || p->flags & TCP_FIN)
		return local_copy(skb, p, e, in);
	if (seq_after(p->ack, e->live.own_end[in])) {
		set_ack(s, e->live.own_end[in]);
		if (tcp_write(skb, p->l4, p->header, 0))
			return TC_ACT_SHOT;
	}
	return TC_ACT_OK;
}

/* A leg whose local socket is still open (PRE_SPLICED): what is for the socket, and what passes. */
static __always_inline int splice_open_leg(struct __sk_buff *skb, struct packet *p,
					   struct splice_entry *e, __u32 leg, control_t c)
{
	__u32 in = leg & 1;
	bool acked = !seq_before(p->ack, e->live.own_end[in]);
	bool carries = p->payload || p->flags & TCP_FIN;
	bool told = e->live.copied & (1 << in);
	enum forward_how how = acked ? 0 : FORWARD_CLAMP;

	if (translate_header(p, e, in, how))
		return TC_ACT_SHOT;
	if (carries && seq_before(p->seq, e->record.base[in]) &&
	    !(control_flags(c) & ACKED_FLAG(1 - in)))
		return old_data(skb, p, e, in, !told);
	if (told)
		return forward_translated(skb, p, e, in, how);
	if (carries || acked) {
		switch (forward_copy(skb, p, e, in, how)) {
		case COPY_SENT:
			break;
		case COPY_NO_WAY:
			return forward_translated(skb, p, e, in, how);
		default:
			return TC_ACT_SHOT;
		}
	} else {
		take_in(e, in, p, bpf_ktime_get_ns());
	}
	if (acked)
		e->live.copied |= 1 << in;
	return local_copy(skb, p, e, in);
}

static __always_inline int handle_rst(struct __sk_buff *skb, struct packet *p,
				      struct splice_entry *e, __u32 leg, control_t c)
{
	struct splice_tunables *t = get_tunables();
	int verdict = judge_rst(e, leg, p->seq);
	bool known = receiver_known(e, leg);
	__u64 now = bpf_ktime_get_ns();
	int way;

	if (verdict == RST_REFUSED || !t) {
		COUNT_DROP(RST_REFUSED, e->record.id);
		return TC_ACT_SHOT;
	}
	way = forward_ready(skb, p, e, leg);
	if (way != TC_ACT_OK)
		return way;
	count(SPLICE_CNT_RST_RELAYED);
	if (verdict == RST_BELIEVED && !control_finished(c)) {
		e->live.last_seen_ns = now;
		control_tear(e);
	} else if (!known) {
		shorten(e, now, t->timeout_ms[SPLICE_TIMEOUT_PROBE]);
	}
	return forward_go(skb, p, e, leg);
}

/* A segment of a splice that translates. */
static __always_inline int handle_active(struct __sk_buff *skb, struct packet *p,
					 struct splice_entry *e, __u32 leg, control_t c)
{
	if (seen_long_ago(e, c))
		begin_anew(e);
	if (p->hops <= 1) {
		COUNT_DROP(DROP_TTL, e->record.id);
		return p->piece == PIECE_WHOLE ? answer_error(skb, p, ICMP_TTL, 0) : TC_ACT_SHOT;
	}
	if ((p->tos & ECN_MASK) == ECN_CE && !leg_has_ecn(e, 1 - leg)) {
		COUNT_DROP(DROP_ECN, e->record.id);
		return TC_ACT_SHOT;
	}
	if (p->flags & TCP_RST)
		return handle_rst(skb, p, e, leg, c);
	if (!(p->flags & TCP_ACK)) {
		COUNT_DROP(DROP_MALFORMED, e->record.id);
		return TC_ACT_SHOT;
	}
	if (p->flags & TCP_FIN && !in_window(e, leg, p->seq)) {
		COUNT_DROP(FIN_REFUSED, e->record.id);
		return TC_ACT_SHOT;
	}
	if (control_flags(c) & OPEN_FLAG(leg))
		return splice_open_leg(skb, p, e, leg, c);
	return forward(skb, p, e, leg);
}

static __always_inline int handle_hit(struct __sk_buff *skb, struct packet *p,
				      struct splice_entry *e, struct splice_leg_ref *ref)
{
	__u32 leg = ref->leg & 1;
	control_t c = control_read(e);
	__u8 state = control_state(c, leg);

	if (state == SPLICE_CLOSE && !control_torn(c))
		return TC_ACT_OK;	/* reserved: the sockets are still shaking hands */
	if (state == SPLICE_ESTABLISHED) {
		if (!(p->flags & TCP_FIN))
			return TC_ACT_OK;
		/* a FIN now would close the socket before the splice takes over; it comes again */
		COUNT_DROP(HOLD_FIN, ref->id);
		return TC_ACT_SHOT;
	}
	/* nobody can answer a fragment */
	if (p->piece != PIECE_WHOLE &&
	    (p->flags & TCP_SYN || control_torn(c) || !fragment_passes(e, c))) {
		COUNT_DROP(DROP_FRAGMENT, ref->id);
		return TC_ACT_SHOT;
	}
	if (p->flags & TCP_SYN)
		return syn_on_entry(skb, p, e, ref, c);
	if (control_torn(c) && !(p->flags & TCP_RST))
		return late_segment(skb, p, e);
	return handle_active(skb, p, e, leg, c);
}

#endif
