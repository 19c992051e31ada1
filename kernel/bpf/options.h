/* SPDX-License-Identifier: GPL-2.0-only */
/* Rewriting of TCP options: timestamps (RFC 7323) and SACK blocks (RFC 2018, RFC 2883). */
#ifndef SPLICE_OPTIONS_H
#define SPLICE_OPTIONS_H

#include "write.h"

#define OPT_END 0
#define OPT_NOP 1
#define OPT_SACK_PERMITTED 4
#define OPT_SACK 5
#define OPT_TIMESTAMP 8
#define TIMESTAMP_LENGTH 10

enum option_edit {
	EDIT_TS_ADD = 0x01,	/* add tsval_d and tsecr_d */
	EDIT_TS_REMOVE = 0x02,	/* overwrite by NOPs */
	EDIT_TS_RAISE = 0x04,	/* TSval at least tsval_d */
	EDIT_SACK_ADD = 0x08,	/* add sack_d to every edge */
	EDIT_SACK_REMOVE = 0x10,
	EDIT_SACKOK_REMOVE = 0x20,	/* take SACK-permitted out of a SYN */
};

static __always_inline void edit_timestamp(__u8 *option, struct options *o)
{
	__u32 tsval = bpf_ntohl(load32(option + 2));

	if (o->edit & EDIT_TS_REMOVE) {
		for (int i = 0; i < TIMESTAMP_LENGTH; i++)
			option[i] = OPT_NOP;
		return;
	}
	if (o->edit & EDIT_TS_ADD) {
		tsval += o->tsval_d;
		store32(option + 2, bpf_htonl(tsval));
		store32(option + 6, bpf_htonl(bpf_ntohl(load32(option + 6)) + o->tsecr_d));
	} else if (o->edit & EDIT_TS_RAISE && seq_before(tsval, o->tsval_d)) {
		tsval = o->tsval_d;
		store32(option + 2, bpf_htonl(tsval));
	}
	o->tsval = tsval;
	o->has_tsval = 1;
}

static __always_inline void edit_sack(__u8 *option, __u32 length, struct options *o)
{
	for (__u32 at = 2; at < 34; at += 4) {
		if (at + 4 > length)
			break;
		store32(option + at, bpf_htonl(bpf_ntohl(load32(option + at)) + o->sack_d));
	}
}

/* Whatever its length: none of it may be taken for another option's beginning. */
static __always_inline void blank_option(__u8 *option, __u32 length)
{
	for (__u32 at = 0; at < 40; at++) {
		if (at >= length)
			break;
		option[at] = OPT_NOP;
		asm volatile("" ::: "memory");	/* or clang makes it a call of memset */
	}
}

static long option_step(__u32 index, void *context)
{
	struct scratch *s = get_scratch();
	struct options *o;
	__u32 at, length;
	__u8 *option;

	(void)index;
	(void)context;
	if (!s)
		return 1;
	o = &s->options;
	at = o->position;
	if (at >= o->end)
		return 1;
	option = s->after + BOUND(at, 0x3f);
	if (option[0] == OPT_END)
		return 1;
	if (option[0] == OPT_NOP) {
		o->position = at + 1;
		return 0;
	}
	length = option[1];
	if (at + 1 >= o->end || length < 2 || at + length > o->end) {
		o->malformed = 1;
		return 1;
	}
	if (option[0] == OPT_TIMESTAMP && length == TIMESTAMP_LENGTH) {
		edit_timestamp(option, o);
	} else if (option[0] == OPT_SACK && o->edit & EDIT_SACK_REMOVE) {
		blank_option(option, length);
	} else if (option[0] == OPT_SACK && o->edit & EDIT_SACK_ADD) {
		edit_sack(option, length, o);
	} else if (option[0] == OPT_SACK_PERMITTED && length == 2 && o->edit & EDIT_SACKOK_REMOVE) {
		option[0] = option[1] = OPT_NOP;
	}
	o->position = at + length;
	return 0;
}

/*
 * Edit the options in s->after as s->options says. Linux and most others send NOP NOP TS in a 32-byte header when
 * nothing is lost, which needs no walk; anything else is walked option by option (an unrolled walk
 * would exceed the verifier's patience, bpf_loop does not; kernel 5.17). The walk keeps its position in
 * map memory, whose values the verifier does not follow: on the stack, each step would be a new state.
 */
static __always_inline void options_edit(struct scratch *s, struct packet *p)
{
	struct options *o = &s->options;

	o->has_tsval = 0;
	o->malformed = 0;
	if (p->header == 20)
		return;
	if (p->header == 32 && load32(s->before + 20) == bpf_htonl(0x0101080a)) {
		edit_timestamp(s->after + 22, o);
		return;
	}
	o->position = 20;
	o->end = p->header;
	bpf_loop(40, option_step, NULL, 0);
}

/*
 * Take options out of a SYN that the other leg cannot have: a client's on its way in (SPLICE_SO_ALIGN), or
 * the proxy's own on its way out (SPLICE_MARK_ALIGN). Returns the verdict.
 */
static __noinline int align_syn(struct __sk_buff *skb, struct packet *p, __u32 options)
{
	struct scratch *s = get_scratch();

	if (!s)
		return TC_ACT_SHOT;
	s->options.edit = (options & SPLICE_O_SACK0 ? EDIT_SACKOK_REMOVE : 0) |
			  (options & SPLICE_O_TS0 ? EDIT_TS_REMOVE : 0);
	options_edit(s, p);
	if (options & SPLICE_O_ECN0) {
		s->after[12] &= ~TCP_AE;
		s->after[13] &= ~(TCP_ECE | TCP_CWR);
	}
	count(SPLICE_CNT_SYN_ALIGNED);
	return tcp_write(skb, p->l4, p->header, 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

#endif
