/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entries taken over from another table of this kernel, which another object or another size made
 * necessary. First the earlier table is copied while it is in use, several times if need be; then the
 * programs of this one take over; then what packets did to the earlier one since is joined to what
 * they have done here.
 */
#ifndef SPLICE_ADOPT_H
#define SPLICE_ADOPT_H

#include "table.h"

static __always_inline bool same_splice(const struct splice_record *a, const struct splice_record *b)
{
	return a->origin == b->origin && a->incarnation == b->incarnation;
}

/* All but the id, which makes an entry visible. The earlier table counts its packets until the end. */
static __always_inline void copy_item(struct splice_entry *e, const struct splice_batch_item *item,
				      __u8 mark)
{
	__builtin_memcpy((__u8 *)&e->record + 8, (__u8 *)&item->record + 8, sizeof(e->record) - 8);
	__builtin_memcpy(&e->live, &item->live, offsetof(struct splice_live, packets));
	e->record.version = SPLICE_RECORD_VERSION;
	e->live.mark = mark;
	e->live.changed = 0;
}

/* The item's address pair is its own in the earlier table: what has it here is there no more. */
static __always_inline void vacate(const struct splice_tuple *tuple)
{
	struct splice_leg_ref *ref = bpf_map_lookup_elem(&legs, tuple);
	struct splice_entry *e = ref ? entry_of(ref) : NULL;

	if (e)
		entry_remove(e, ref->slot, ref->id, false);
}

static __always_inline __u32 adopt_new(struct splice_batch_item *item, __u8 mark)
{
	struct splice_entry *e;
	__u32 slot;

	vacate(&item->record.tuple[0]);
	vacate(&item->record.tuple[1]);
	e = entry_claim(&slot);
	if (!e)
		return SPLICE_TABLE_FULL;
	item->slot = slot;
	copy_item(e, item, mark);
	if (entry_publish(e, slot, item->record.id))
		return SPLICE_TUPLE_TAKEN;
	count(SPLICE_CNT_ADOPTED);
	return SPLICE_OK;
}

/* Copied before, and nobody has used this table yet: the later copy counts. */
static __always_inline __u32 adopt_again(struct splice_entry *e, struct splice_batch_item *item,
					 __u8 mark)
{
	bool finished = control_finished(control_read(e));

	copy_item(e, item, mark);
	if (!finished && control_finished(control_read(e)))
		count_service(e, -1);
	return SPLICE_OK;
}

#define FLAGS_LEAVING (FLAGS_SOCKET | SPLICE_F_STANDBY)	/* once gone, they do not come back */

/* The word that follows from both, which had one past and then heard different packets. */
__noinline control_t control_join(control_t ours, control_t theirs)
{
	__u32 generation = (__u32)ours > (__u32)theirs ? (__u32)ours : (__u32)theirs;
	__u16 both = control_flags(ours) & control_flags(theirs) & FLAGS_LEAVING;
	__u16 flags = ((control_flags(ours) | control_flags(theirs)) & ~FLAGS_LEAVING) | both;
	control_t joined;

	/* reserved or held: only its sockets change it, and they do so in one table at a time */
	if (!control_torn(ours) && !control_torn(theirs) &&
	    (control_state(ours, 0) < SPLICE_PRE_SPLICED ||
	     control_state(theirs, 0) < SPLICE_PRE_SPLICED))
		return generation == (__u32)ours ? ours : theirs;
	joined = control_torn(ours) || control_torn(theirs) ?
			 control_make(0, flags & ~FLAGS_SOCKET, SPLICE_CLOSE, SPLICE_CLOSE) :
			 control_next(0, flags);
	joined >>= 32;
	if (joined == ours >> 32 && generation == (__u32)ours)
		return ours;
	if (joined == theirs >> 32 && generation == (__u32)theirs)
		return theirs;
	return joined << 32 | (generation + 1);
}

static __always_inline void join_control(struct splice_entry *e, control_t theirs)
{
	for (int i = 0; i < 8; i++) {
		control_t c = control_read(e), next = control_join(c, theirs);

		if (next == c)
			return;
		if (next != theirs) {	/* what nobody has announced yet */
			if (control_change(e, c, next))
				return;
			continue;
		}
		if (__sync_val_compare_and_swap(control_of(e), c, next) != c)
			continue;
		if (control_finished(next) && !control_finished(c))
			count_service(e, -1);
		return;
	}
}

/* What the earlier table has seen of a direction. */
static __always_inline void join_seen(struct splice_live *ours, const struct splice_live *theirs,
				      __u32 direction)
{
	__u32 in = direction & 1;

	if (theirs->fin_known & (1 << in) && !(ours->fin_known & (1 << in))) {
		ours->fin_end[in] = theirs->fin_end[in];
		ours->fin_known |= 1 << in;
	}
	if (seq_after(theirs->ts_sent[in], ours->ts_sent[in]))
		ours->ts_sent[in] = theirs->ts_sent[in];
	ours->packets[in] += theirs->packets[in];
	ours->bytes[in] += theirs->bytes[in];
	if (!theirs->seen[in])
		return;
	if (!ours->seen[in] || seq_after(theirs->seen_end[in], ours->seen_end[in]))
		ours->seen_end[in] = theirs->seen_end[in];
	if (!ours->seen[in] || seq_after(theirs->seen_ack[in], ours->seen_ack[in])) {
		ours->seen_ack[in] = theirs->seen_ack[in];
		ours->seen_window[in] = theirs->seen_window[in];
	}
	ours->seen[in] = 1;
}

/* A FIN went through one table and its acknowledgement through the other: neither has seen both. */
static __always_inline __u16 fin_acknowledged(struct splice_entry *e, __u16 flags, __u32 direction)
{
	struct splice_live *l = &e->live;
	__u32 in = direction & 1, back = 1 - in;

	if (!(flags & FIN_FLAG(in)) || !(l->fin_known & (1 << in)) || !l->seen[back] ||
	    seq_before(l->seen_ack[back] - e->record.seq_d[in], l->fin_end[in]))
		return 0;
	return FINACK_FLAG(in);
}

static __always_inline __u32 join(struct splice_entry *e, struct splice_batch_item *item, __u8 mark)
{
	struct splice_live *ours = &e->live, *theirs = &item->live;
	__u16 flags;

	if (ours->mark == mark)
		return SPLICE_EXISTS;	/* joined already: its packets are not added again */
	if ((__s64)(theirs->last_seen_ns - ours->last_seen_ns) > 0) {
		ours->last_seen_ns = theirs->last_seen_ns;
		ours->timeout_ms = theirs->timeout_ms;
		ours->shortened = theirs->shortened;
	}
	ours->copied |= theirs->copied;
	ours->settled |= theirs->settled;
	ours->unproven &= theirs->unproven;
	join_seen(ours, theirs, 0);
	join_seen(ours, theirs, 1);
	join_control(e, *(control_t *)&item->record.generation);
	flags = control_flags(control_read(e));
	flags = fin_acknowledged(e, flags, 0) | fin_acknowledged(e, flags, 1);
	if (flags)
		control_add_flags(e, flags);
	ours->mark = mark;
	return SPLICE_OK;
}

static __noinline __u32 adopt(struct splice_batch_item *item, __u8 mark, bool joining)
{
	struct splice_leg_ref *ref = bpf_map_lookup_elem(&legs, &item->record.tuple[0]);
	struct splice_entry *e = ref ? entry_of(ref) : NULL;

	if (!item->record.id)
		return SPLICE_INVALID;
	if (e && e->record.id == item->record.id && same_splice(&e->record, &item->record))
		return joining ? join(e, item, mark) : adopt_again(e, item, mark);
	return joining ? SPLICE_NOT_FOUND : adopt_new(item, mark);
}

#endif
