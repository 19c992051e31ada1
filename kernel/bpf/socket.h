/* SPDX-License-Identifier: GPL-2.0-only */
/* The splice "system call": what the socket options read from and do to a socket, under its lock. */
#ifndef SPLICE_SOCKET_H
#define SPLICE_SOCKET_H

#include "table.h"

#define PORT_REST_NS (1000 * NS_PER_MS)

/* Fields that a kernel may have been built without. */
struct tcp_sock___optional {
	void *md5sig_info;
	void *ao_info;
	bool is_mptcp;
	__u8 tcp_usec_ts : 1;
} __attribute__((preserve_access_index));

#define RFC3168_ECN 1	/* of tcp_sock.ecn_flags: negotiated, in the sense of RFC 3168 (TCP_ECN_OK) */

/* The numbers of one TCP socket. Sequence numbers in host order. */
struct socket_view {
	struct splice_tuple tuple;
	__u32 state;
	__u32 rcv_nxt, copied_seq, snd_nxt, snd_una, write_seq, mss, snd_wnd;
	__u32 ts_recent;	/* last TSval of the far end */
	__u32 ts_now;		/* TSval that the socket would send now */
	__u16 mss_clamp;	/* what the far end has announced */
	__u8 snd_wscale, rcv_wscale;
	__u8 traits;		/* enum splice_trait */
};

/* Nothing but its bytes may be on its mind, or another end cannot take its place. */
static __always_inline __u8 socket_traits(struct tcp_sock *tp)
{
	struct tcp_sock___optional *optional = (void *)tp;
	__u8 traits = 0;

	if (BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.tstamp_ok))
		traits |= SPLICE_T_TIMESTAMPS;
	if (BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.sack_ok) & 1)
		traits |= SPLICE_T_SACK;
	if (BPF_CORE_READ_BITFIELD_PROBED(tp, syn_data_acked))
		traits |= SPLICE_T_SYN_DATA;
	if (BPF_CORE_READ(tp, out_of_order_queue.rb_node))
		traits |= SPLICE_T_OUT_OF_ORDER;
	if (BPF_CORE_READ(tp, ecn_flags) & RFC3168_ECN)
		traits |= SPLICE_T_ECN;
	if (bpf_core_field_exists(optional->md5sig_info) && BPF_CORE_READ(optional, md5sig_info))
		traits |= SPLICE_T_SIGNED;
	if (bpf_core_field_exists(optional->ao_info) && BPF_CORE_READ(optional, ao_info))
		traits |= SPLICE_T_SIGNED;
	if (bpf_core_field_exists(optional->is_mptcp) && BPF_CORE_READ(optional, is_mptcp))
		traits |= SPLICE_T_MPTCP;
	return traits;
}

static __always_inline void socket_tuple(struct sock *sk, bool v6, struct splice_tuple *tuple)
{
	if (v6) {
		BPF_CORE_READ_INTO(&tuple->saddr, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&tuple->daddr, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
	} else {
		map_ipv4(tuple->saddr, BPF_CORE_READ(sk, __sk_common.skc_daddr));
		map_ipv4(tuple->daddr, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	}
	tuple->sport = BPF_CORE_READ(sk, __sk_common.skc_dport);
	tuple->dport = bpf_htons(BPF_CORE_READ(sk, __sk_common.skc_num));
}

/*
 * Read the socket of a sockopt context. These program types have no way to the tcp_sock but this one: its
 * address, which the verifier knows as a bpf_sock, becomes a plain number by being read from our own stack.
 * Returns false when it is no TCP socket.
 */
static __always_inline bool socket_view(struct bpf_sockopt *ctx, struct socket_view *v)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp = NULL;
	struct tcp_sock___optional *optional;
	bool usec = false, v6;
	__u64 now;

	if (!sk || (sk->family != AF_INET && sk->family != AF_INET6))
		return false;
	__builtin_memset(v, 0, sizeof(*v));
	v->state = sk->state;
	if (sk->protocol == IPPROTO_MPTCP)
		v->traits = SPLICE_T_MPTCP;
	if (sk->protocol != IPPROTO_TCP)
		return v->traits;
	v6 = sk->family == AF_INET6;
	bpf_probe_read_kernel(&tp, sizeof(tp), &sk);
	optional = (void *)tp;
	socket_tuple((struct sock *)tp, v6, &v->tuple);
	v->traits = socket_traits(tp);
	v->rcv_nxt = BPF_CORE_READ(tp, rcv_nxt);
	v->copied_seq = BPF_CORE_READ(tp, copied_seq);
	v->snd_nxt = BPF_CORE_READ(tp, snd_nxt);
	v->snd_una = BPF_CORE_READ(tp, snd_una);
	v->write_seq = BPF_CORE_READ(tp, write_seq);
	v->mss = BPF_CORE_READ(tp, mss_cache);
	v->mss_clamp = BPF_CORE_READ(tp, rx_opt.mss_clamp);
	v->snd_wnd = BPF_CORE_READ(tp, snd_wnd);
	v->ts_recent = BPF_CORE_READ(tp, rx_opt.ts_recent);
	v->snd_wscale = BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.snd_wscale);
	v->rcv_wscale = BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.rcv_wscale);
	if (bpf_core_field_exists(optional->tcp_usec_ts))
		usec = BPF_CORE_READ_BITFIELD_PROBED(optional, tcp_usec_ts);
	now = bpf_ktime_get_ns();
	v->ts_now = (__u32)(usec ? now / 1000 : now / NS_PER_MS) + BPF_CORE_READ(tp, tsoffset);
	return true;
}

struct found {
	struct splice_entry *entry;
	__u32 slot;
	__u32 leg;
	__u64 id;
};

/* The entry that has this socket as a leg. */
static __always_inline bool find_entry(const struct splice_tuple *tuple, struct found *f)
{
	struct splice_leg_ref *ref = bpf_map_lookup_elem(&legs, tuple);

	if (!ref)
		return false;
	f->entry = entry_of(ref);
	f->slot = ref->slot;
	f->leg = ref->leg & 1;
	f->id = ref->id;
	return f->entry;
}

static __always_inline void fill_snapshot(const struct socket_view *v, struct splice_snapshot *s)
{
	struct found f;

	__builtin_memset(s, 0, sizeof(*s));
	s->tcp_state = v->state;
	s->rcv_nxt = v->rcv_nxt;
	s->copied_seq = v->copied_seq;
	s->snd_nxt = v->snd_nxt;
	s->snd_una = v->snd_una;
	s->write_seq = v->write_seq;
	s->mss = v->mss;
	s->snd_wscale = v->snd_wscale;
	s->rcv_wscale = v->rcv_wscale;
	s->traits = v->traits;
	if (find_entry(&v->tuple, &f)) {
		control_t c = control_read(f.entry);

		s->id = f.id;
		s->leg_state = control_state(c, f.leg);
		s->entry_flags = control_flags(c);
	}
}

/* Held for another node, whose claim is weaker than that of a splice that is born here now. */
static __always_inline bool standby_weaker(const struct splice_entry *e)
{
	struct splice_tunables *t = get_tunables();

	if (!t || !(e->record.flags & SPLICE_F_STANDBY))
		return false;
	return t->epoch != e->record.epoch ? t->epoch > e->record.epoch : t->node > e->record.owner;
}

/*
 * A splice that has ended gives way to a new one: on the client's side at once, since the client chose
 * the port; on the server's after a rest, as between two connections of this host (tcp_tw_reuse).
 * User space goes round its ports, so that the rest is as long as there are ports for.
 *
 * What is held for another node gives way on the client's side, if that node's claim is the weaker one; on
 * the server's the port may be in use there.
 */
static __noinline void give_way_to_call(const struct splice_call *call, __u32 leg)
{
	struct splice_leg_ref *old = bpf_map_lookup_elem(&legs, &call->tuple[leg & 1]);
	struct splice_entry *e = old ? entry_of(old) : NULL;

	if (!e)
		return;
	if (!control_finished(control_read(e))) {
		if (leg || !standby_weaker(e))
			return;
		e->live.unproven = 0;
		if (!entry_remove(e, old->slot, old->id, true))
			return;
		count(SPLICE_CNT_STANDBY_YIELDED);
		return;
	}
	if (leg) {
		if (bpf_ktime_get_ns() - e->live.last_seen_ns < PORT_REST_NS)
			return;
		count(SPLICE_CNT_PORT_REUSED);
	}
	entry_remove(e, old->slot, old->id, true);
}

static __noinline int call_reserve(const struct splice_call *call)
{
	struct splice_tunables *t = get_tunables();
	struct splice_record *r;
	struct splice_entry *e;
	__u32 slot;
	__u64 id;

	if (!t)
		return -ERRNO_INVAL;
	give_way_to_call(call, 0);
	give_way_to_call(call, 1);
	/* in a full table too a proxy is to know that a port is a live splice's */
	if (bpf_map_lookup_elem(&legs, &call->tuple[0]) || bpf_map_lookup_elem(&legs, &call->tuple[1]))
		return -ERRNO_EXIST;
	e = entry_claim(&slot);
	if (!e)
		return -FULL_ERRNO;
	id = __sync_fetch_and_add(&t->next_id, 1) + 1;
	r = &e->record;
	r->incarnation = t->incarnation;
	r->origin = r->owner = t->node;
	r->epoch = t->epoch;
	__builtin_memcpy(r->tuple, call->tuple, sizeof(r->tuple));
	__builtin_memset(r->seq_d, 0, sizeof(*r) - offsetof(struct splice_record, seq_d));
	r->version = SPLICE_RECORD_VERSION;
	*control_of(e) = control_make(1, FLAGS_OPEN, SPLICE_CLOSE, SPLICE_CLOSE);
	e->live.last_seen_ns = bpf_ktime_get_ns();
	e->live.timeout_ms = state_timeout(control_read(e));
	return entry_publish(e, slot, id) ? -ERRNO_EXIST : 0;
}

/* Hold a leg: from now on nothing new is acknowledged, so that the far end comes to rest. */
static __always_inline int call_hold(struct found *f, const struct socket_view *v)
{
	struct splice_entry *e = f->entry;
	__u32 leg = f->leg & 1;

	if (v->state != TCP_STATE_ESTABLISHED)
		return -ERRNO_NOTCONN;
	if (v->traits & (SPLICE_T_SIGNED | SPLICE_T_MPTCP | SPLICE_T_SYN_DATA))
		return -ERRNO_OPNOTSUPP;
	e->record.base[leg] = v->rcv_nxt;
	e->record.wscale_in[leg] = v->snd_wscale;
	e->record.wscale_out[leg] = v->rcv_wscale;
	e->record.mss[leg] = v->mss_clamp;
	e->record.options |= (v->traits & SPLICE_T_TIMESTAMPS ? SPLICE_O_TS0 << leg : 0) |
			     (v->traits & SPLICE_T_SACK ? SPLICE_O_SACK0 << leg : 0) |
			     (v->traits & SPLICE_T_ECN ? SPLICE_O_ECN0 << leg : 0);
	for (int i = 0; i < 8; i++) {
		control_t c = control_read(e);

		if (control_state(c, leg) != SPLICE_CLOSE)
			return -ERRNO_INVAL;
		if (control_change(e, c, control_make((__u32)c + 1, control_flags(c),
						      leg ? control_state(c, 0) : SPLICE_ESTABLISHED,
						      leg ? SPLICE_ESTABLISHED : control_state(c, 1))))
			return 0;
	}
	return -ERRNO_AGAIN;
}

/* Take a leg's numbers: what has been read ends here, what the proxy will have written ends there. */
static __always_inline int take_numbers(struct found *f, const struct socket_view *v, __u32 pending)
{
	struct splice_entry *e = f->entry;
	__u32 leg = f->leg & 1;

	if (v->state != TCP_STATE_ESTABLISHED)
		return -ERRNO_NOTCONN;
	if (control_state(control_read(e), leg) != SPLICE_ESTABLISHED)
		return -ERRNO_INVAL;
	if (v->copied_seq != v->rcv_nxt || v->traits & SPLICE_T_OUT_OF_ORDER)
		return -ERRNO_AGAIN;
	e->record.base[leg] = v->rcv_nxt;
	e->live.own_end[leg] = v->write_seq + pending;
	e->live.local_next[leg] = v->rcv_nxt;
	e->live.ts_sent[leg] = v->ts_now;
	e->live.seen_end[leg] = v->rcv_nxt;
	e->live.seen_ack[leg] = v->write_seq + pending;
	e->live.seen_window[leg] = v->snd_wnd;
	e->live.seen[leg] = 1;
	if (v->snd_una == v->write_seq + pending)
		e->live.copied |= 1 << leg;
	else
		e->live.copied &= ~(1 << leg);
	e->live.settled |= 1 << leg;
	return 0;
}

/* The server leg's half; its timestamps wait in the record until the client leg's are known too. */
static __always_inline int call_settle(struct found *f, const struct socket_view *v,
				       const struct splice_call *call)
{
	int error;

	if (f->leg != 1)
		return -ERRNO_INVAL;
	error = take_numbers(f, v, call->pending[1]);
	if (error)
		return error;
	f->entry->record.tsval_d[1] = v->ts_recent;
	f->entry->record.tsval_d[0] = v->ts_now - (__u32)(bpf_ktime_get_ns() / NS_PER_MS);
	return 0;
}

/*
 * The client leg's half, the offsets, and the switch. Mapped timestamps of a direction go on from
 * what the socket of the leg that they leave on would send now.
 */
static __always_inline int call_activate(struct found *f, const struct socket_view *v,
					 const struct splice_call *call)
{
	struct splice_entry *e = f->entry;
	struct splice_record *r = &e->record;
	__u16 flags = FLAGS_OPEN;
	__u32 server_now, server_recent;
	int error;

	if (f->leg != 0 || !(e->live.settled & 2))
		return -ERRNO_INVAL;
	error = take_numbers(f, v, call->pending[0]);
	if (error)
		return error;
	r->seq_d[0] = e->live.own_end[1] - r->base[0];
	r->seq_d[1] = e->live.own_end[0] - r->base[1];
	server_recent = r->tsval_d[1];
	server_now = r->tsval_d[0] + (__u32)(bpf_ktime_get_ns() / NS_PER_MS);
	r->tsval_d[0] = server_now - v->ts_recent;
	r->tsval_d[1] = v->ts_now - server_recent;
	if (e->live.copied & 1)
		flags |= SPLICE_F_ACKED0;
	if (e->live.copied & 2)
		flags |= SPLICE_F_ACKED1;
	for (int i = 0; i < 8; i++) {
		control_t c = control_read(e);

		if (control_state(c, 1) != SPLICE_ESTABLISHED)
			return -ERRNO_INVAL;
		if (control_change(e, c, control_make((__u32)c + 1, flags, SPLICE_PRE_SPLICED,
						      SPLICE_PRE_SPLICED))) {
			count(SPLICE_CNT_CREATED);
			return 0;
		}
	}
	return -ERRNO_AGAIN;
}

/* The wait for another node is over: it has the splice, nobody waits any more, or it took too long. */
static __always_inline bool deferral_over(struct splice_entry *e, const struct splice_tunables *t)
{
	__u16 waited = bpf_ktime_get_ns() / NS_PER_MS - e->live.deferred_ms;

	if (t->defer_ms && waited < t->defer_ms)
		return false;
	if (t->defer_ms)
		count(SPLICE_CNT_DEFER_EXPIRED);
	return true;
}

/*
 * The leg needs its local socket no more, once that has seen everything it wrote acknowledged. With defer_ms
 * the last one goes on in two steps: the splice is announced, and when another node has it the leg is SPLICED.
 */
static __always_inline int call_commit(struct found *f, const struct socket_view *v)
{
	struct splice_tunables *t = get_tunables();
	struct splice_entry *e = f->entry;
	__u32 leg = f->leg & 1;

	if (!t)
		return -ERRNO_INVAL;

	for (int i = 0; i < 8; i++) {
		control_t c = control_read(e);
		__u16 flags = control_flags(c);
		bool defer;

		if (control_torn(c))
			return -ERRNO_CONNRESET;
		if (control_state(c, leg) < SPLICE_PRE_SPLICED)
			return -ERRNO_INVAL;
		if (v->snd_una != e->live.own_end[leg]) {
			/* it will never be acknowledged: retransmission has been given up */
			if (v->state == TCP_STATE_CLOSE)
				return -ERRNO_NOTCONN;
			/* the news may have missed the socket: the next packet brings it again */
			e->live.local_next[leg] = v->rcv_nxt;
			e->live.copied &= ~(1 << leg);
			return -ERRNO_AGAIN;
		}
		if (flags & DEFER_FLAG(leg)) {
			if (!deferral_over(e, t))
				return -ERRNO_AGAIN;
			control_confirm(e);
			return 0;
		}
		if (!(flags & OPEN_FLAG(leg)))
			return 0;
		flags |= ACKED_FLAG(leg);
		flags &= ~OPEN_FLAG(leg);
		e->live.copied |= 1 << leg;
		defer = t->defer_ms && !(flags & FLAGS_OPEN) && !(flags & FLAGS_FIN);
		if (defer) {
			e->live.deferred_ms = bpf_ktime_get_ns() / NS_PER_MS;
			flags |= DEFER_FLAG(leg);
		}
		if (!control_change(e, c, control_next(c, flags)))
			continue;
		if (!defer)
			return 0;
		count(SPLICE_CNT_DEFERRED);
		return -ERRNO_AGAIN;
	}
	return -ERRNO_AGAIN;
}

/* Say, or forget, what the clients of a listening address are not to negotiate. */
static __noinline int call_align(const struct splice_align *align)
{
	struct listen_key key = {};

	__builtin_memcpy(key.address, align->address, 16);
	key.port = align->port;
	if (align->options & ~(SPLICE_O_TS0 | SPLICE_O_SACK0 | SPLICE_O_ECN0))
		return -ERRNO_INVAL;
	if (!align->options) {
		bpf_map_delete_elem(&listeners, &key);
		return 0;
	}
	return bpf_map_update_elem(&listeners, &key, &align->options, BPF_ANY) ? -FULL_ERRNO : 0;
}

static __always_inline int call_on_entry(__u32 option, const struct socket_view *v,
					 const struct splice_call *call)
{
	struct found f;

	/* only ABORT may name an entry, whose sockets may be gone */
	if (!find_entry(&v->tuple, &f) &&
	    (option != SPLICE_SO_ABORT || !find_entry(&call->tuple[0], &f)))
		return -ERRNO_NOENT;
	switch (option) {
	case SPLICE_SO_HOLD:
		return call_hold(&f, v);
	case SPLICE_SO_SETTLE:
		return call_settle(&f, v, call);
	case SPLICE_SO_ACTIVATE:
		return call_activate(&f, v, call);
	case SPLICE_SO_COMMIT:
		return call_commit(&f, v);
	case SPLICE_SO_ABORT:
		if (control_replicable(control_read(f.entry)))
			return -ERRNO_NOENT;	/* no proxy's any more */
		count(SPLICE_CNT_ABORTED);
		entry_remove(f.entry, f.slot, f.id, true);
		return 0;
	}
	return -ERRNO_INVAL;
}

#endif
