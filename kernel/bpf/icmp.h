/* SPDX-License-Identifier: GPL-2.0-only */
/* ICMP errors about translated packets, passed on to who sent those (RFC 792, 1191, 4443, 5927, 8201). */
#ifndef SPLICE_ICMP_H
#define SPLICE_ICMP_H

#include "pass.h"

/* An error as it came: what it says, and the segment that it quotes, our end first. */
struct icmp_in {
	struct splice_tuple quoted;	/* turned round, so that it finds the leg */
	__u32 seq;
	__u32 length;
	__u32 mtu;
	__u8 error;		/* enum icmp_error */
};

static __always_inline __u8 icmp_meaning(bool v6, __u8 type, __u8 code)
{
	if (v6) {
		if (type == 2)
			return ICMP_TOO_BIG;
		return type != 1 ? ICMP_NO_ERROR : code == 0 ? ICMP_NO_ROUTE
						 : code == 3 ? ICMP_NO_HOST : ICMP_NO_ERROR;
	}
	if (type != 3)
		return ICMP_NO_ERROR;
	return code == 4 ? ICMP_TOO_BIG : code == 1 ? ICMP_NO_HOST
			 : code == 0 ? ICMP_NO_ROUTE : ICMP_NO_ERROR;
}

/* Read an error about a TCP segment. Returns false when it is something else. */
static __noinline bool icmp_read(struct __sk_buff *skb, const struct packet *p, struct icmp_in *in)
{
	__u8 head[ICMP_HEADER], tcp[8];
	__u32 at = p->l4 + ICMP_HEADER, word;

	if (bpf_skb_load_bytes(skb, p->l4, head, sizeof(head)))
		return false;
	in->error = icmp_meaning(p->v6, head[0], head[1]);
	if (in->error == ICMP_NO_ERROR)
		return false;
	word = bpf_ntohl(load32(head + 4));
	in->mtu = p->v6 ? word : word & 0xffff;
	if (p->v6) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.nexthdr != IPPROTO_TCP)
			return false;
		__builtin_memcpy(in->quoted.daddr, &ip.saddr, 16);
		__builtin_memcpy(in->quoted.saddr, &ip.daddr, 16);
		in->length = IPV6_HEADER + bpf_ntohs(ip.payload_len);
		at += IPV6_HEADER;
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.protocol != IPPROTO_TCP ||
		    ip.ihl < 5 || ip.frag_off & bpf_htons(IP_OFFSET))
			return false;
		map_ipv4(in->quoted.daddr, ip.saddr);
		map_ipv4(in->quoted.saddr, ip.daddr);
		in->length = bpf_ntohs(ip.tot_len);
		at += ip.ihl * 4;
	}
	if (at + sizeof(tcp) > p->end || bpf_skb_load_bytes(skb, at, tcp, sizeof(tcp)))
		return false;
	in->quoted.dport = *(__be16 *)(tcp + 0);
	in->quoted.sport = *(__be16 *)(tcp + 2);
	in->seq = bpf_ntohl(load32(tcp + 4));
	return true;
}

/* What the other leg may send, when this one takes IP packets of so many octets. 0 (RFC 1191): unsaid. */
static __always_inline __u32 icmp_mtu(__u32 mtu, bool from_v6, bool to_v6)
{
	if (from_v6 == to_v6)
		return mtu;
	if (to_v6)
		return mtu + IPV6_HEADER - IPV4_HEADER < MTU_MIN_IPV6 ? MTU_MIN_IPV6
								      : mtu + IPV6_HEADER - IPV4_HEADER;
	return mtu < MTU_MIN_IPV6 ? MTU_MIN_IPV6 - (IPV6_HEADER - IPV4_HEADER)
				  : mtu - (IPV6_HEADER - IPV4_HEADER);
}

/* Make of the error one about the segment as its sender sent it, and send it there. */
static __noinline int icmp_relay(struct __sk_buff *skb, struct packet *p, struct splice_entry *e,
				 __u32 direction, const struct icmp_in *in)
{
	__u32 back = direction & 1;	/* the leg that the segment came in on */
	bool v6 = leg_is_ipv6(e, back);
	struct scratch *s = get_scratch();
	struct icmp_message m;

	if (!s || !icmp_allowed())
		return TC_ACT_SHOT;
	p->tos = 0;
	if (!routed(route(skb, s, &e->record.tuple[back], icmp_length(v6)))) {
		COUNT_DROP(DROP_ROUTE, e->record.id);
		return TC_ACT_SHOT;
	}
	__builtin_memcpy(&m.quoted, &e->record.tuple[back], sizeof(m.quoted));
	m.seq = in->seq - e->record.seq_d[back];
	m.length = v6 == p->v6 ? in->length : v6 ? in->length + IPV6_HEADER - IPV4_HEADER
						 : in->length - (IPV6_HEADER - IPV4_HEADER);
	m.mtu = icmp_mtu(in->mtu, p->v6, v6);
	m.error = in->error;
	if (icmp_make(&m, v6) ||
	    (v6 != p->v6 && bpf_skb_change_proto(skb, v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0)) ||
	    bpf_skb_change_tail(skb, ETH_HLEN + icmp_length(v6), 0) || icmp_store(skb, v6)) {
		COUNT_DROP(DROP_STORE, e->record.id);
		return TC_ACT_SHOT;
	}
	count(SPLICE_CNT_ICMP_RELAYED);
	return send_by(skb);
}

/* Returns the verdict; what is not about a spliced segment of ours is the stack's. */
static __noinline int handle_icmp(struct __sk_buff *skb, struct packet *p)
{
	struct splice_leg_ref *ref;
	struct splice_entry *e;
	struct icmp_in in;
	__u32 leg, direction, seq;
	control_t c;

	if (!icmp_read(skb, p, &in))
		return TC_ACT_OK;
	ref = bpf_map_lookup_elem(&legs, &in.quoted);
	e = ref ? entry_of(ref) : NULL;
	if (!e)
		return TC_ACT_OK;
	leg = ref->leg & 1;
	direction = 1 - leg;	/* of the segment quoted: it left on this leg */
	c = control_read(e);
	if (control_state(c, leg) < SPLICE_PRE_SPLICED && !control_torn(c))
		return TC_ACT_OK;
	if (control_flags(c) & OPEN_FLAG(leg) && seq_before(in.seq, e->live.own_end[leg]))
		return TC_ACT_OK;	/* the proxy's own data */
	seq = in.seq - e->record.seq_d[direction];
	if (!under_way(e, direction, seq)) {
		COUNT_DROP(ICMP_REFUSED, e->record.id);
		return TC_ACT_SHOT;
	}
	return icmp_relay(skb, p, e, direction, &in);
}

#endif
