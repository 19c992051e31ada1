/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The maps that are the splice table. Sizes given as 1, and that of the ring, are set by the loader from
 * TableSize.
 *
 *   legs     incoming tuple -> slot    (two a splice; preallocated, so that a packet never allocates)
 *   entries  slot -> record and live numbers
 *
 * A slot is claimed from free_slots and given back by whoever sets its id to 0 (one atomic step, so
 * exactly one does). Everything that decides (generation, flags, states) stands in one 64-bit word
 * of the record and changes by compare-and-swap; the rest has one writer per direction.
 */
#ifndef SPLICE_MAPS_H
#define SPLICE_MAPS_H

#include "common.h"

#define BPF_F_MMAPABLE_MAP 1024

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct splice_entry);
} entries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct splice_tuple);
	__type(value, struct splice_leg_ref);
} legs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, __u32);
} free_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct splice_tunables);
} tunables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct splice_mailbox);
} mailbox SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE_MAP);
	__uint(max_entries, SPLICE_BATCHES);
	__type(key, __u32);
	__type(value, struct splice_batch);
} batches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SPLICE_CNT_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} events SEC(".maps");

/* Virtual addresses; what happens to packets for them is said by the tunables. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u8[16]);
	__type(value, __u8);
} guard SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct splice_service);
	__type(value, __u32);
} services SEC(".maps");

/* Listening addresses whose clients are not to negotiate certain options; see SPLICE_SO_ALIGN. */
struct listen_key {
	__u8 address[16];
	__be16 port;
	__u8 pad[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct listen_key);
	__type(value, __u8);
} listeners SEC(".maps");

/* First fragments seen: the later ones carry no ports. The oldest give way. */
struct fragment_key {
	__u8 saddr[16];
	__u8 daddr[16];
	__u32 id;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fragment_key);
	__type(value, struct splice_leg_ref);
} fragments SEC(".maps");

/*
 * Where the packets of a leg went last, so that the routing table, the dearest part of a packet's way, is not
 * asked for each. Each processor remembers for itself, so nobody reads what another one is writing.
 */
struct way {
	__u64 id;		/* of the splice */
	__u64 until_ns;
	__u32 in_ifindex;
	__u32 ifindex;
	__u32 mtu;
	__u8 out;		/* leg */
	__u8 tos;
	__u8 family;
	__u8 pad;
	__u8 next_hop[16];	/* as in struct bpf_redir_neigh */
};

#define WAYS 1024	/* a power of two */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WAYS);
	__type(key, __u32);
	__type(value, struct way);
} ways SEC(".maps");

/* The service whose count a socket wants to read. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct splice_service);
} asked_service SEC(".maps");

struct sweep_state {
	struct bpf_timer timer;
	__u32 cursor;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sweep_state);
} sweep SEC(".maps");

static __always_inline void count_by(__u32 counter, __u64 n)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += n;
}

static __always_inline void count(__u32 counter)
{
	count_by(counter, 1);
}

static __always_inline struct splice_tunables *get_tunables(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tunables, &zero);
}

enum debug_level { DEBUG_DROPS = 1, DEBUG_STATES = 2, DEBUG_PACKETS = 3 };

static __always_inline bool debugging(__u32 level)
{
	struct splice_tunables *t = get_tunables();

	return t && t->debug_level >= level;
}

/* Count a packet that goes no further, under the name of its counter in the trace pipe too. */
#define COUNT_DROP(name, id)                                                                       \
	({                                                                                         \
		count(SPLICE_CNT_##name);                                                          \
		if (debugging(DEBUG_DROPS))                                                        \
			bpf_printk("splice %llu: " #name, (__u64)(id));                            \
	})

#endif
