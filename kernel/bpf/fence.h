/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A node that has yielded the virtual addresses: it still has them, maybe, and must not be heard under
 * them. Splices go on being translated, since two nodes that translate the same one do no harm; what is
 * exclusive is the address (ARP, RFC 826; neighbour discovery, RFC 4861) and whatever the stack would say.
 */
#ifndef SPLICE_FENCE_H
#define SPLICE_FENCE_H

#include "maps.h"

#define ETH_P_ARP 0x0806
#define ARP_OPERATION (ETH_HLEN + 6)
#define ARP_SENDER (ETH_HLEN + 14)
#define ARP_TARGET (ETH_HLEN + 24)
#define ARP_REQUEST 1
#define IPV4_SOURCE (ETH_HLEN + 12)
#define IPV4_DESTINATION (ETH_HLEN + 16)
#define IPV6_LENGTH (ETH_HLEN + 4)
#define IPV6_NEXT (ETH_HLEN + 6)
#define IPV6_SOURCE (ETH_HLEN + 8)
#define IPV6_DESTINATION (ETH_HLEN + 24)
#define ND_TYPE (ETH_HLEN + IPV6_HEADER)
#define ND_CHECKSUM (ND_TYPE + 2)
#define ND_TARGET (ND_TYPE + 8)
#define ND_LENGTH 24	/* of a solicitation without options */
#define ND_OPTION 8
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136

static __always_inline __be32 ipv4_at(struct __sk_buff *skb, __u32 at)
{
	__be32 address = 0;

	bpf_skb_load_bytes(skb, at, &address, sizeof(address));
	return address;
}

static __always_inline bool guards_ipv4(__be32 address)
{
	__u8 key[16];

	map_ipv4(key, address);
	return bpf_map_lookup_elem(&guard, key);
}

static __noinline bool guards_ipv6(struct __sk_buff *skb, __u32 at)
{
	__u8 key[16];

	return !bpf_skb_load_bytes(skb, at, key, sizeof(key)) && bpf_map_lookup_elem(&guard, key);
}

static __always_inline bool is_arp_request(struct __sk_buff *skb)
{
	__be16 operation = 0;

	bpf_skb_load_bytes(skb, ARP_OPERATION, &operation, sizeof(operation));
	return operation == bpf_htons(ARP_REQUEST);
}

/* Type of an ICMPv6 message; 0 of anything else. Neighbour discovery has no extension headers. */
static __always_inline __u8 icmpv6_type(struct __sk_buff *skb)
{
	__u8 next = 0, type = 0;

	bpf_skb_load_bytes(skb, IPV6_NEXT, &next, sizeof(next));
	if (next == IPPROTO_ICMPV6)
		bpf_skb_load_bytes(skb, ND_TYPE, &type, sizeof(type));
	return type;
}

/* answer_until_ns: 0 is for ever, which is how it is on a node that has never yielded. */
static __always_inline bool fence_stands(void)
{
	struct splice_tunables *t = get_tunables();

	return t && t->answer_until_ns && bpf_ktime_get_ns() > t->answer_until_ns;
}

#define FENCE_PASSES SPLICE_CNT_COUNT	/* in place of the counter of a packet that is dropped */

static __always_inline __u32 judge_arp_in(struct __sk_buff *skb)
{
	__be32 target = ipv4_at(skb, ARP_TARGET);

	/* who names himself asks nobody: the new owner's announcement */
	if (!is_arp_request(skb) || ipv4_at(skb, ARP_SENDER) == target || !guards_ipv4(target))
		return FENCE_PASSES;
	return SPLICE_CNT_FENCED_RESOLUTION;
}

static __always_inline __u32 judge_ipv6_in(struct __sk_buff *skb)
{
	if (icmpv6_type(skb) == ND_SOLICITATION && guards_ipv6(skb, ND_TARGET))
		return SPLICE_CNT_FENCED_RESOLUTION;
	return guards_ipv6(skb, IPV6_DESTINATION) ? SPLICE_CNT_FENCED_UNSPLICED : FENCE_PASSES;
}

static __noinline int fence_verdict_in(struct __sk_buff *skb)
{
	__u32 counter = FENCE_PASSES;

	if (skb->protocol == bpf_htons(ETH_P_ARP))
		counter = judge_arp_in(skb);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		counter = judge_ipv6_in(skb);
	else if (skb->protocol == bpf_htons(ETH_P_IP) && guards_ipv4(ipv4_at(skb, IPV4_DESTINATION)))
		counter = SPLICE_CNT_FENCED_UNSPLICED;
	if (counter == FENCE_PASSES)
		return TC_ACT_OK;
	count(counter);
	return TC_ACT_SHOT;
}

/* The verdict on a packet that has come in and that no splice takes. */
static __always_inline int fence_in(struct __sk_buff *skb)
{
	return fence_stands() ? fence_verdict_in(skb) : TC_ACT_OK;
}

/*
 * To translate, the stack may have to find a neighbour, and its question carries the address of the segment
 * that waits for the answer: a virtual one. The question is made one in nobody's name, which everybody
 * answers and nobody learns from: a probe (RFC 5227 section 1.1), a solicitation as in duplicate address
 * detection (RFC 4862 section 5.4.2), whose answer goes to all nodes.
 */
static __always_inline __u32 judge_arp_out(struct __sk_buff *skb)
{
	__be32 sender = ipv4_at(skb, ARP_SENDER), nobody = 0;

	if (!guards_ipv4(sender))
		return FENCE_PASSES;
	if (!is_arp_request(skb) || sender == ipv4_at(skb, ARP_TARGET) ||
	    bpf_skb_store_bytes(skb, ARP_SENDER, &nobody, sizeof(nobody), 0))
		return SPLICE_CNT_FENCED_ANNOUNCEMENT;
	count(SPLICE_CNT_FENCED_PROBE);
	return FENCE_PASSES;
}

/* What a solicitation with a source has, and one without has not; at the end, its checksum's length. */
struct nd_name {
	__u8 source[16];
	__u8 option[ND_OPTION];	/* link-layer address: never without a source */
	__be32 length;
};

/* Returns -1 if it is not one as the stack sends it, to all, when it knows nothing of a neighbour. */
static __noinline int nd_unname(struct __sk_buff *skb)
{
	struct nd_name with = { .length = bpf_htonl(ND_LENGTH + ND_OPTION) };
	struct nd_name without = { .length = bpf_htonl(ND_LENGTH) };
	__be16 length = bpf_htons(ND_LENGTH);
	__u8 to = 0;
	__s64 change;

	bpf_skb_load_bytes(skb, IPV6_DESTINATION, &to, sizeof(to));
	if (to != 0xff || skb->len != ND_TYPE + ND_LENGTH + ND_OPTION ||
	    bpf_skb_load_bytes(skb, IPV6_SOURCE, with.source, sizeof(with.source)) ||
	    bpf_skb_load_bytes(skb, ND_TYPE + ND_LENGTH, with.option, sizeof(with.option)))
		return -1;
	change = bpf_csum_diff((__be32 *)&with, sizeof(with), (__be32 *)&without, sizeof(without), 0);
	if (bpf_l4_csum_replace(skb, ND_CHECKSUM, 0, change, 0) ||
	    bpf_skb_store_bytes(skb, IPV6_SOURCE, without.source, sizeof(without.source), 0) ||
	    bpf_skb_store_bytes(skb, IPV6_LENGTH, &length, sizeof(length), 0))
		return -1;
	return bpf_skb_change_tail(skb, ND_TYPE + ND_LENGTH, 0);
}

static __always_inline __u32 judge_ipv6_out(struct __sk_buff *skb)
{
	__u8 type = icmpv6_type(skb);

	if (type == ND_ADVERTISEMENT && guards_ipv6(skb, ND_TARGET))
		return SPLICE_CNT_FENCED_ANNOUNCEMENT;
	if (!guards_ipv6(skb, IPV6_SOURCE))
		return FENCE_PASSES;
	if (type != ND_SOLICITATION || nd_unname(skb))
		return SPLICE_CNT_FENCED_SENT;
	count(SPLICE_CNT_FENCED_PROBE);
	return FENCE_PASSES;
}

static __noinline int fence_verdict_out(struct __sk_buff *skb)
{
	__u32 counter = FENCE_PASSES;

	if (skb->protocol == bpf_htons(ETH_P_ARP))
		counter = judge_arp_out(skb);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		counter = judge_ipv6_out(skb);
	else if (skb->protocol == bpf_htons(ETH_P_IP) && guards_ipv4(ipv4_at(skb, IPV4_SOURCE)))
		counter = SPLICE_CNT_FENCED_SENT;
	if (counter == FENCE_PASSES)
		return TC_ACT_OK;
	count(counter);
	return TC_ACT_SHOT;
}

/* The verdict on a packet of the local stack that is no part of a splice. */
static __always_inline int fence_out(struct __sk_buff *skb)
{
	return fence_stands() ? fence_verdict_out(skb) : TC_ACT_OK;
}

#endif
