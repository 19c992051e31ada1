/* SPDX-License-Identifier: GPL-2.0-only */
/* Rewriting of TCP options: timestamps (RFC 7323) and SACK blocks (RFC 2018, RFC 2883). */
#ifndef SPLICE_OPTIONS_H
#define SPLICE_OPTIONS_H

#include "packet.h"

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
		store32(option + at, o->edit & EDIT_SACK_REMOVE
					     ? bpf_htonl(0x01010101)
					     : bpf_htonl(bpf_ntohl(load32(option + at)) + o->sack_d));
	}
	if (o->edit & EDIT_SACK_REMOVE)
		option[0] = option[1] = OPT_NOP;
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
	} else if (option[0] == OPT_SACK && o->edit & (EDIT_SACK_ADD | EDIT_SACK_REMOVE)) {
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

#endif
