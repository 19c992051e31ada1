// SPDX-License-Identifier: GPL-2.0-only
/* The programs of the datapath. Each only routes; the work stands in the headers. */
#include "maps.h"
#include "ingress.h"
#include "egress.h"
#include "socket.h"
#include "operate.h"
#include "print.h"

char LICENSE[] SEC("license") = "GPL";

SEC("tc")
int splice_ingress(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();
	struct splice_leg_ref *ref;
	struct splice_entry *e;
	struct packet *p;
	int verdict;

	/* flooded and promiscuous frames are somebody else's flow */
	if (!s || skb->pkt_type == PACKET_OTHERHOST)
		return TC_ACT_OK;
	/* a VLAN's packet, seen on its parent on its way to the VLAN's own interface */
	if (skb->vlan_present && skb->vlan_tci & VLAN_ID) {
		if (skb->pkt_type == PACKET_HOST)
			count(SPLICE_CNT_VLAN_PASSED);
		return TC_ACT_OK;
	}
	/* a question to all may be for a virtual address */
	if (skb->pkt_type != PACKET_HOST)
		return fence_in(skb);
	p = &s->packet;
	switch (packet_read(skb, p, s, false)) {
	case PARSED_OTHER:
		return fence_in(skb);
	case PARSED_MALFORMED:
		count(SPLICE_CNT_MALFORMED_PASSED);
		return fence_in(skb);
	case PARSED_ICMP:
		verdict = handle_icmp(skb, p);
		return verdict == TC_ACT_OK ? fence_in(skb) : verdict;
	case PARSED_LATER:
		verdict = fragment_later(skb, p);
		return verdict == TC_ACT_OK ? fence_in(skb) : verdict;
	case PARSED_TCP:
		break;
	}
	ref = bpf_map_lookup_elem(&legs, &p->tuple);
	e = ref ? entry_of(ref) : NULL;
	if (!e) {
		if (p->piece == PIECE_WHOLE)
			count(SPLICE_CNT_MISSED);
		if (fence_in(skb) != TC_ACT_OK)
			return TC_ACT_SHOT;
		return p->piece == PIECE_WHOLE ? not_spliced(skb, p) : guard_verdict(skb, p);
	}
	s->leg = *ref;
	return handle_hit(skb, p, e, ref);
}

SEC("tc")
int splice_egress(struct __sk_buff *skb)
{
	struct splice_tunables *t = get_tunables();
	struct scratch *s;
	struct splice_leg_ref *ref;
	struct splice_entry *e;
	struct packet *p;

	/* translated packets leave untouched; and only they may use the scratch space above us */
	if (!t || skb->mark == t->mark)
		return TC_ACT_OK;
	s = get_scratch();
	if (!s)
		return TC_ACT_OK;
	p = &s->packet;
	if (packet_read(skb, p, s, true) != PARSED_TCP)
		return fence_out(skb);
	if ((skb->mark & ~0xffu) == SPLICE_MARK_ALIGN && (p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return fence_out(skb) == TC_ACT_OK ? align_syn(skb, p, skb->mark & 0xff)
						   : TC_ACT_SHOT;
	ref = bpf_map_lookup_elem(&legs, &p->tuple);
	e = ref ? entry_of(ref) : NULL;
	return e ? handle_local(skb, p, s, e, ref) : fence_out(skb);
}

SEC("cgroup/getsockopt")
int splice_getsockopt(struct bpf_sockopt *ctx)
{
	struct splice_snapshot *snapshot = ctx->optval;
	struct splice_service *service;
	struct socket_view v;
	__u32 *live, *out = ctx->optval, length;

	if (ctx->level != SOL_SPLICE)
		return 1;
	if (ctx->optname == SPLICE_SO_SNAPSHOT) {
		if ((void *)(snapshot + 1) > ctx->optval_end || !socket_view(ctx, &v))
			return 1;
		fill_snapshot(&v, snapshot);
		length = sizeof(*snapshot);
	} else if (ctx->optname == SPLICE_SO_COUNT) {
		if ((void *)(out + 1) > ctx->optval_end)
			return 1;
		service = bpf_sk_storage_get(&asked_service, ctx->sk, 0, 0);
		if (!service)
			return 1;
		live = bpf_map_lookup_elem(&services, service);
		*out = live ? *live : 0;
		length = sizeof(*out);
	} else {
		return 1;
	}
	ctx->optlen = length;
	ctx->retval = 0;
	return 1;
}

SEC("cgroup/setsockopt")
int splice_setsockopt(struct bpf_sockopt *ctx)
{
	struct splice_service *asked = ctx->optval, *service;
	struct splice_call *argument = ctx->optval;
	struct splice_align *align = ctx->optval, aligned;
	struct splice_tunables *t;
	struct splice_call call;
	struct socket_view v;
	__u32 option = *(volatile __u32 *)&ctx->optname;	/* once: clang would compute its address */
	int error;

	if (ctx->level != SOL_SPLICE)
		return 1;
	error = -ERRNO_INVAL;
	if (option == SPLICE_SO_SERVICE) {
		if ((void *)(asked + 1) > ctx->optval_end)
			goto refuse;
		service = bpf_sk_storage_get(&asked_service, ctx->sk, 0,
					     BPF_SK_STORAGE_GET_F_CREATE);
		if (!service)
			goto refuse;
		__builtin_memcpy(service, asked, sizeof(*service));
		goto done;
	}
	if (option == SPLICE_SO_ALIGN) {
		if ((void *)(align + 1) > ctx->optval_end)
			goto refuse;
		__builtin_memcpy(&aligned, align, sizeof(aligned));
		error = call_align(&aligned);
		if (error)
			goto refuse;
		goto done;
	}
	if ((void *)(argument + 1) > ctx->optval_end)
		goto refuse;
	__builtin_memcpy(&call, argument, sizeof(call));
	t = get_tunables();
	if (t && t->frozen) {
		error = -ERRNO_BUSY;
	} else if (option == SPLICE_SO_RESERVE) {
		error = call_reserve(&call);
	} else if (!socket_view(ctx, &v)) {
		error = -ERRNO_OPNOTSUPP;
	} else {
		error = call_on_entry(option, &v, &call);
	}
	if (error)
		goto refuse;
done:
	ctx->optlen = -1;	/* the kernel itself need not see it */
	return 1;
refuse:
	bpf_set_retval(error);
	return 0;
}

/* Run by BPF_PROG_TEST_RUN on a packet of its own kind; see enum splice_op. */
SEC("tc")
int table_op(struct __sk_buff *skb)
{
	__u8 *data = (__u8 *)(long)skb->data;

	if (data + 1 > (__u8 *)(long)skb->data_end)
		return 1;
	return *data ? operate_batch(*data - 1) : operate();
}

/* The table as text, by `cat` of the pinned iterator. */
SEC("iter/bpf_map_elem")
int dump_table(struct bpf_iter__bpf_map_elem *ctx)
{
	struct splice_entry *e = ctx->value;

	if (ctx->meta->seq_num == 0)
		print_head(ctx->meta->seq);
	if (e && e->record.id)
		print_entry(ctx->meta->seq, e);
	return 0;
}
