/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The splice record, and everything else that the eBPF programs share with user space.
 *
 * This header is the only definition. kernel/record/layout.ts is generated from it by way of the
 * BTF of the compiled object (npm run build), and a test holds both to the same sizes and offsets.
 *
 * Byte order: addresses and ports are in network order, as they stand in a packet; every other
 * integer is little-endian, on the wire as in the kernel (the programs are built for bpfel only).
 * IPv4 addresses are written IPv4-mapped, ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
 *
 * Direction 0 travels from the client to the server, direction 1 from the server to the client.
 * Leg 0 is the connection client <-> proxy, leg 1 the connection server <-> proxy. A packet of
 * direction d therefore comes in on leg d and leaves on leg 1 - d.
 */
#ifndef SPLICE_RECORD_H
#define SPLICE_RECORD_H

#define SPLICE_RECORD_VERSION 1
#define SPLICE_PROBES_MAX 3	/* unanswered ones after which a silent entry goes */
#define SPLICE_BATCH_ITEMS 512	/* records in one call of the table_op program */
#define SPLICE_BATCHES 3	/* batches of records that may be under way at once */

/* One end-to-end address pair, as seen on packets that come in: from the far end to this node. */
struct splice_tuple {
	__u8 saddr[16];		/* far end (client, or real server) */
	__u8 daddr[16];		/* this node (virtual address, or source address of the proxy) */
	__be16 sport;
	__be16 dport;
};				/* 36 bytes */

/* State of a leg, after the splice states of the Symmetric TCP Splice thesis. */
enum splice_state {
	SPLICE_CLOSE = 0,	/* tuple reserved, or torn down by RST */
	SPLICE_ESTABLISHED = 1,	/* held: local socket owns the leg, ACKs do not leave */
	SPLICE_PRE_SPLICED = 2,	/* translating; the local socket is still open */
	SPLICE_SPLICED = 3,	/* translating; no local socket: may live on another node */
	SPLICE_FIN_RELAYED = 4,	/* a FIN has been forwarded onto this leg */
	SPLICE_SHUTDOWN = 5,	/* ... and its acknowledgement has come back */
	SPLICE_TIMEWAIT = 6,	/* both legs SHUTDOWN, for 2 MSL */
};

enum splice_flag {
	SPLICE_F_FIN0 = 0x0001,		/* client's FIN seen */
	SPLICE_F_FIN1 = 0x0002,		/* server's FIN seen */
	SPLICE_F_FINACK0 = 0x0004,	/* client's FIN acknowledged by the server */
	SPLICE_F_FINACK1 = 0x0008,	/* server's FIN acknowledged by the client */
	SPLICE_F_ACKED0 = 0x0010,	/* client has acknowledged all that the proxy wrote */
	SPLICE_F_ACKED1 = 0x0020,	/* server has acknowledged all that the proxy wrote */
	SPLICE_F_OPEN0 = 0x0040,	/* local socket of the client leg is open */
	SPLICE_F_OPEN1 = 0x0080,	/* local socket of the server leg is open */
	SPLICE_F_STANDBY = 0x0100,	/* held for another owner: no event but its end, no expiry while it
					 * lives (see standby_ms); its generation counts what that owner
					 * has said */
	SPLICE_F_DEFER0 = 0x0200,	/* announced, and the client leg waits until another node has it */
	SPLICE_F_DEFER1 = 0x0400,	/* ... the server leg does; in no event, and in no other node */
};

enum splice_option {
	SPLICE_O_TS0 = 0x01,	/* timestamps negotiated on the client leg (RFC 7323) */
	SPLICE_O_TS1 = 0x02,	/* ... on the server leg */
	SPLICE_O_SACK0 = 0x04,	/* SACK negotiated on the client leg (RFC 2018) */
	SPLICE_O_SACK1 = 0x08,	/* ... on the server leg */
	SPLICE_O_ECN0 = 0x10,	/* ECN negotiated on the client leg (RFC 3168) */
	SPLICE_O_ECN1 = 0x20,	/* ... on the server leg */
};

/*
 * The record: kernel event, cache slot, datagram body and commit batch are these bytes.
 *
 * Identity is (origin, incarnation, id) and never changes. The owner is (epoch, owner): the higher
 * pair wins wherever two records of one identity meet; between records of one owner the higher
 * generation wins (serial arithmetic, RFC 1982, is not needed: 2^32 changes of one flow). Of two
 * splices of one tuple the later one is right.
 */
struct splice_record {
	__u64 id;		/* rises within an incarnation */
	__u64 incarnation;	/* of the table that gave birth: microseconds of Unix time */
	__u32 origin;		/* node that gave birth */
	__u32 owner;		/* node that owns it now */
	__u32 epoch;		/* of that ownership */
	__u32 remaining_ms;	/* until expiry, at the moment of the rendering */
	/* the control word: these 8 bytes change together, by compare-and-swap */
	__u32 generation __attribute__((aligned(8)));
	__u16 flags;		/* enum splice_flag */
	__u8 state[2];		/* enum splice_state, by leg */
	struct splice_tuple tuple[2];	/* by leg */
	__u32 seq_d[2];		/* by direction: added to seq; ack gets minus the other's (mod 2^32) */
	__u32 tsval_d[2];	/* by direction: added to TSval; TSecr gets minus the other's */
	__u32 base[2];		/* by leg: first sequence number of the far end that is spliced */
	__u8 wscale_in[2];	/* by leg: shift of the windows that the far end advertises */
	__u8 wscale_out[2];	/* by leg: shift that the far end applies to windows it receives */
	__u32 idle_ms;		/* since the last packet, at the moment of the rendering */
	__u16 mss[2];		/* by leg: what the far end accepts */
	__u8 options;		/* enum splice_option */
	__u8 version;		/* SPLICE_RECORD_VERSION */
	__u8 reserved[2];	/* zero */
};				/* 152 bytes */

/* What only the kernel that owns the flow knows. Never replicated. */
struct splice_live {
	__u64 last_seen_ns;	/* bpf_ktime_get_ns of the last packet (mod 2^64: may lie before the boot) */
	__u32 timeout_ms;	/* expires when idle for so long */
	__u8 shortened;		/* timeout_ms is not that of the state; the next packet restores it */
	__u8 settled;		/* bit per leg: its socket's numbers have been taken */
	__u8 copied;		/* bit per leg: the local socket was given its last acknowledgement */
	__u8 fin_known;		/* bit per direction: fin_end is valid */
	__u8 seen[2];		/* by direction: the seen_ fields are valid */
	__u8 unproven;		/* put in by user space, and no packet has come since */
	__u8 probes;		/* sent to its ends meanwhile */
	__u8 mark;		/* of the round of ADOPT that copied it; 0: born here */
	__u8 changed;		/* by anything but a packet, since it was last copied (DUMP with RECENT) */
	__u16 deferred_ms;	/* when a DEFER flag was set: bpf_ktime_get_ns in ms (mod 2^16) */
	__u32 own_end[2];	/* by leg: write_seq of the proxy; below it, the bytes are the proxy's */
	__u32 local_next[2];	/* by leg: rcv_nxt of the local socket */
	__u32 seen_end[2];	/* by direction: highest sequence number forwarded, sender's space */
	__u32 seen_ack[2];	/* by direction: highest acknowledgement, sender's ack space */
	__u32 seen_window[2];	/* by direction: window in bytes, unscaled */
	__u32 fin_end[2];	/* by direction: sequence number after the FIN, sender's space */
	__u32 ts_sent[2];	/* by leg: last TSval that left on it */
	__u64 packets[2];	/* by direction */
	__u64 bytes[2];		/* by direction, TCP payload */
};

/* One slot of the table (BPF array). */
struct splice_entry {
	struct splice_record record;
	struct splice_live live;
};

/* Index from an incoming tuple to its slot (BPF hash); valid while the slot's id is the same. */
struct splice_leg_ref {
	__u64 id;
	__u32 slot;
	__u32 leg;
};

enum splice_event_type {
	SPLICE_EVENT_NEW = 1,		/* the splice can live on another node from now on */
	SPLICE_EVENT_UPDATE = 2,	/* states or owner changed */
	SPLICE_EVENT_DESTROY = 3,	/* torn down, expired or deleted */
};

struct splice_event {
	__u32 type;		/* enum splice_event_type */
	__u32 lost;		/* events lost so far because the ring was full (mod 2^32) */
	struct splice_record record;
};

/* Real server's live splices, kept by the datapath so that they are right after a takeover too. */
struct splice_service {
	__u8 vaddr[16];		/* virtual server */
	__u8 raddr[16];		/* real server */
	__be16 vport;
	__be16 rport;
};

/*
 * Requests to the table_op program. The first octet of the packet that it is run on says where it finds
 * the request: 0 in the mailbox; n in batch n - 1, which takes INSERT, DELETE, CONFIRM and DEMOTE only.
 */
enum splice_op {
	SPLICE_OP_INIT = 1,	/* fill the list of free slots, start the sweep */
	SPLICE_OP_INSERT = 2,	/* records[0..count) into the table */
	SPLICE_OP_DELETE = 3,	/* records[0..count), by identity */
	SPLICE_OP_DUMP = 4,	/* slots from cursor on into items; cursor moves, done when it is 0 */
	SPLICE_OP_FLUSH = 5,	/* delete from slot cursor on, at most SPLICE_BATCH_ITEMS slots */
	SPLICE_OP_SHORTEN = 6,	/* cap remaining time at argument ms, chunk by chunk like FLUSH */
	SPLICE_OP_ADOPT = 7,	/* items[0..count), live part included, from another table of this
				 * kernel; each is given argument as its mark. Packets and bytes are
				 * counted from 0 until the one that joins */
	SPLICE_OP_PROBE = 8,	/* like DUMP: the entries that no packet has proven for argument ms, each
				 * counted as probed; after SPLICE_PROBES_MAX unanswered ones it is removed */
	SPLICE_OP_CONFIRM = 9,	/* records[0..count), by identity: another node has them (COMMIT) */
	SPLICE_OP_DEMOTE = 10,	/* records[0..count), by identity, with the claim that has beaten ours: they
				 * are held for that owner where they stand, for remaining_ms without a
				 * packet, until that owner or a commit says otherwise */
	SPLICE_OP_BUSY = 11,	/* like DUMP: this node's entries with data outstanding, whose last packet is no
				 * older than argument ms */
	SPLICE_OP_LOOK = 12,	/* items[0..count), by identity: what has come of them (enum splice_look) since
				 * their live part was taken, which a call with argument 1 does */
};

enum splice_op_flag {
	SPLICE_OP_EVENTS = 1,	/* INSERT, DELETE, FLUSH: emit events as the splice call does */
	SPLICE_OP_OWNED = 2,	/* FLUSH: only entries whose owner is argument */
	SPLICE_OP_LEFT = 4,	/* FLUSH: only entries whose mark is neither 0 nor argument */
	SPLICE_OP_RECENT = 8,	/* DUMP, to copy: only entries that had a packet at since_ns or later, were
				 * changed since they were last copied, or still have a socket */
	SPLICE_OP_JOIN = 16,	/* ADOPT: this table is in use already. What is not in it any more stays
				 * out; what is gets what it has not heard of, once for each mark */
	SPLICE_OP_ANNOUNCED = 32,	/* DUMP: as the events have them: without DEFER flags */
	SPLICE_OP_HELD = 64,	/* DELETE: only entries that are held for another owner; INSERT: only where the
				 * splice is in the table already */
	SPLICE_OP_STALLED = 128,	/* PROBE: those of which an end may wait for its timer, whoever owns them;
				 * none is counted or removed */
};

/* Result of LOOK, bits; by direction: of the end that sends it. */
enum splice_look {
	SPLICE_LOOK_GONE = 0x01,	/* not in the table any more, or ended */
	SPLICE_LOOK_HEARD0 = 0x02,	/* a packet has passed */
	SPLICE_LOOK_HEARD1 = 0x04,
	SPLICE_LOOK_MOVED0 = 0x08,	/* ... with payload */
	SPLICE_LOOK_MOVED1 = 0x10,
	SPLICE_LOOK_OWED0 = 0x20,	/* data is outstanding; the item's seen_ack and seen_end say from where
					 * to where */
	SPLICE_LOOK_OWED1 = 0x40,
};

enum splice_op_result {
	SPLICE_OK = 0,
	SPLICE_NOT_FOUND = 1,	/* DELETE, CONFIRM, DEMOTE, INSERT with HELD: no such identity */
	SPLICE_EXISTS = 2,	/* INSERT, DEMOTE: what is there has the same or a stronger claim */
	SPLICE_TUPLE_TAKEN = 3,	/* INSERT: another splice, which is the later one, has a tuple */
	SPLICE_TABLE_FULL = 4,
	SPLICE_INVALID = 5,	/* bad version, state or flags */
};

struct splice_batch_item {
	struct splice_record record;
	struct splice_live live;	/* DUMP, PROBE, BUSY: out; ADOPT: in; LOOK: both; else unused */
	__u32 result;		/* enum splice_op_result, or enum splice_look */
	__u32 slot;
};				/* 272 bytes */

struct splice_mailbox {
	__u32 op;		/* enum splice_op */
	__u32 flags;		/* enum splice_op_flag */
	__u32 count;		/* items in (ADOPT, LOOK), items out (DUMP, PROBE, BUSY, FLUSH) */
	__u32 cursor;		/* slot to go on from; 0 when the table's end was reached */
	__u32 argument;
	__u32 pad;
	__u64 since_ns;		/* DUMP with RECENT: bpf_ktime_get_ns; 0: all */
	struct splice_batch_item items[SPLICE_BATCH_ITEMS];
};

/* Records side by side, so that a caller moves them in and their results out as one piece each. */
struct splice_batch {
	__u32 op;		/* enum splice_op */
	__u32 flags;		/* enum splice_op_flag */
	__u32 count;		/* records in */
	__u32 done;		/* set to 1 when all results stand here; the caller sets it to 0 */
	__u32 results[SPLICE_BATCH_ITEMS];	/* enum splice_op_result */
	struct splice_record records[SPLICE_BATCH_ITEMS];
};

/* Timeouts, with the names of the old tcp_splice sysctls. */
enum splice_timeout {
	SPLICE_TIMEOUT_CLOSE = 0,
	SPLICE_TIMEOUT_SYNSENT = 1,	/* tuple reserved, connect under way */
	SPLICE_TIMEOUT_SYNACK = 2,	/* held, or the proxy's own data outstanding */
	SPLICE_TIMEOUT_ESTABLISHED = 3,
	SPLICE_TIMEOUT_FINWAIT = 4,	/* one side has sent a FIN */
	SPLICE_TIMEOUT_LASTACK = 5,	/* both have, an acknowledgement is missing */
	SPLICE_TIMEOUT_TIMEWAIT = 6,
	SPLICE_TIMEOUT_PROBE = 7,	/* after a suspicious RST, or a SYN on a live entry */
	SPLICE_TIMEOUT_COUNT = 8,
};

/* What user space sets and every program reads (mmapable array of one). */
struct splice_tunables {
	__u64 incarnation;	/* of this table */
	__u64 next_id;		/* the datapath counts it up */
	__u64 guard_until_ns;	/* 0: guard off; all ones: armed; else ktime at which it ends */
	__u64 object_id;	/* of the compiled programs that serve this table: head of their SHA-256 */
	__u32 node;
	__u32 epoch;		/* that new splices are born with: the highest seen */
	__u32 table_size;	/* splices */
	__u32 timeout_ms[SPLICE_TIMEOUT_COUNT];
	__u32 mark;		/* skb mark of translated packets on their way out */
	__u32 sweep_ms;		/* the sweep visits every slot once in about this time */
	__u32 draining;		/* not 0: SYNs to virtual addresses are dropped, for a planned hand-over */
	__u32 frozen;		/* not 0: being copied into another table: no call changes an entry (EBUSY),
				 * nothing expires; packets go on */
	__u32 debug_level;	/* to the kernel's trace pipe: 0 nothing, 1 drops, 2 and changes of state,
				 * 3 and every packet of a splice */
	__u32 defer_ms;		/* the last COMMIT of a splice waits for CONFIRM, but no longer; 0: not at all */
	__u32 standby_ms;	/* a live standby entry goes after so long without a packet; 0: never */
	__u64 answer_until_ns;	/* ktime until which this node answers for, and sends from, the virtual
				 * addresses; 0: always, 1: not at all */
	__u64 taken_ns;		/* ktime at which this node took over last: what was seen before, of what it did
				 * not own then, is out of date */
};

enum splice_counter {
	SPLICE_CNT_TRANSLATED = 0,	/* packets */
	SPLICE_CNT_TRANSLATED_BYTES,	/* payload bytes */
	SPLICE_CNT_MISSED,		/* TCP packets that belong to no splice */
	SPLICE_CNT_CREATED,		/* splices activated */
	SPLICE_CNT_COMMITTED,		/* splices whose local sockets are gone (NEW) */
	SPLICE_CNT_INSERTED,		/* entries put in by user space */
	SPLICE_CNT_DESTROYED,
	SPLICE_CNT_EXPIRED,
	SPLICE_CNT_ABORTED,		/* reserved or held, then given back to user space */
	SPLICE_CNT_EVENTS,
	SPLICE_CNT_EVENTS_LOST,		/* ring full */
	SPLICE_CNT_TABLE_FULL,
	SPLICE_CNT_RECLAIMED,		/* ended splices that gave way early in a full table */
	SPLICE_CNT_LOCAL_COPY,		/* acknowledgements handed to local sockets */
	SPLICE_CNT_CLAMPED,		/* acknowledgements raised to the end of the proxy's own data */
	SPLICE_CNT_GUARD_HELD,		/* packets to a virtual address dropped by the guard */
	SPLICE_CNT_DRAIN_SYN,		/* SYNs to a virtual address dropped during a hand-over */
	SPLICE_CNT_HOLD_ACK,		/* ACKs of a held local socket kept back */
	SPLICE_CNT_HOLD_FIN,		/* FINs that came while held, dropped to be sent again */
	SPLICE_CNT_OLD_DATA,		/* data below the splice point, answered by the local socket */
	SPLICE_CNT_LOCAL_RST,		/* RSTs of the local stack kept from a live splice */
	SPLICE_CNT_LOCAL_FIN,		/* FINs of local sockets kept from a live splice */
	SPLICE_CNT_LOCAL_STRAY,		/* other packets of the local stack for a spliced tuple */
	SPLICE_CNT_RST_RELAYED,
	SPLICE_CNT_RST_REFUSED,		/* outside the window last seen (RFC 5961) */
	SPLICE_CNT_FIN_REFUSED,
	SPLICE_CNT_SYN_PROBED,		/* SYN on a live entry, answered by a probe */
	SPLICE_CNT_SYN_REUSED,		/* SYN on a finished entry, which gave way */
	SPLICE_CNT_PORT_REUSED,		/* ports towards a server, used again while it may still wait */
	SPLICE_CNT_MALFORMED_PASSED,	/* headers that make no sense: left to the stack */
	SPLICE_CNT_DROP_MALFORMED,	/* options or flags that no end of a live splice would send */
	SPLICE_CNT_DROP_TTL,
	SPLICE_CNT_DROP_MTU,
	SPLICE_CNT_DROP_ROUTE,		/* no route to the other end */
	SPLICE_CNT_DROP_STORE,		/* the packet could not be rewritten */
	SPLICE_CNT_DROP_FRAGMENT,	/* fragments that cannot be told apart, or of a splice in the making */
	SPLICE_CNT_DROP_ECN,		/* marked "congestion experienced", for a leg without ECN (RFC 6040) */
	SPLICE_CNT_FRAGMENTS,		/* fragments translated */
	SPLICE_CNT_IP_OPTIONS,		/* packets whose IP options were blanked */
	SPLICE_CNT_VLAN_PASSED,		/* packets of a VLAN of a served interface, left to the VLAN's own */
	SPLICE_CNT_GSO_RESIZED,		/* bundles cut anew, into segments that fit the other leg */
	SPLICE_CNT_TRIMMED,		/* segments too big for the other leg that may be fragmented: cut short */
	SPLICE_CNT_ICMP_RELAYED,	/* ICMP errors about translated packets, passed on to their sender */
	SPLICE_CNT_ICMP_REFUSED,	/* ICMP errors that quote nothing that is under way (RFC 5927) */
	SPLICE_CNT_ICMP_TOO_BIG,	/* "fragmentation needed" or "packet too big" sent */
	SPLICE_CNT_ICMP_TTL,		/* "time exceeded" sent */
	SPLICE_CNT_ICMP_LIMITED,	/* ICMP errors not sent: too many a second */
	SPLICE_CNT_LATE_RESET,		/* segments after a teardown, answered by RST */
	SPLICE_CNT_SYN_ALIGNED,		/* SYNs whose options were cut to what the other leg has */
	SPLICE_CNT_PROBED,		/* entries asked whether their ends live */
	SPLICE_CNT_PROBE_EXPIRED,	/* of those, removed because nobody answered */
	SPLICE_CNT_ADOPTED,		/* entries copied from an earlier table */
	SPLICE_CNT_STANDBY,		/* records put in, or brought up to date, for another owner */
	SPLICE_CNT_STANDBY_TAKEN,	/* standby entries that became this node's own */
	SPLICE_CNT_STANDBY_YIELDED,	/* standby entries that gave way to a new splice */
	SPLICE_CNT_DEFERRED,		/* commits that waited for another node to have the splice */
	SPLICE_CNT_DEFER_EXPIRED,	/* ... and went on without */
	SPLICE_CNT_FENCED_RESOLUTION,	/* questions (ARP, ND) for an address that this node has yielded */
	SPLICE_CNT_FENCED_ANNOUNCEMENT,	/* answers and announcements for one, kept in the host */
	SPLICE_CNT_FENCED_PROBE,	/* questions of its own in the name of one, asked without a name */
	SPLICE_CNT_FENCED_UNSPLICED,	/* other packets to one, dropped; splices go on */
	SPLICE_CNT_FENCED_SENT,		/* other packets of the local stack from one, dropped */
	SPLICE_CNT_DEMOTED,		/* own entries that are held for another owner now */
	SPLICE_CNT_STANDBY_EXPIRED,	/* live standby entries whose time was up */
	SPLICE_CNT_COUNT,
};

/*
 * The splice "system call": options of a TCP socket inside the splice cgroup. A failed call gives
 * the errno that is named with it; any that would change the table gives EBUSY while it is being
 * copied (for some milliseconds: ask again). All numbers little-endian.
 */
#define SOL_SPLICE 0x53504c43	/* "SPLC" */

enum splice_sockopt {
	SPLICE_SO_SNAPSHOT = 1,	/* get: struct splice_snapshot */
	SPLICE_SO_RESERVE = 2,	/* set on any socket, before connect: both tuples of the call.
				 * EEXIST: a tuple is taken; ENOSPC: table full */
	SPLICE_SO_HOLD = 3,	/* set on either socket: hold this leg. ENOENT, ENOTCONN */
	SPLICE_SO_SETTLE = 4,	/* set on the server socket when all is read: its numbers are taken.
				 * EAGAIN: not all is read yet, or out-of-order data is queued */
	SPLICE_SO_ACTIVATE = 5,	/* set on the client socket: takes its numbers, computes the offsets,
				 * translation begins. EAGAIN as above */
	SPLICE_SO_COMMIT = 6,	/* set on either socket: EAGAIN while own data is unacknowledged, or no
				 * other node has the splice yet (defer_ms); 0: the leg is SPLICED, close the socket in repair mode. ECONNRESET: torn down
				 * meanwhile, close it likewise. ENOTCONN: the socket gave up before */
	SPLICE_SO_ABORT = 7,	/* set on either socket, or on any with the client's tuple in the call:
				 * forget the entry. ENOENT */
	SPLICE_SO_SERVICE = 8,	/* set on any socket: struct splice_service, the one to count */
	SPLICE_SO_COUNT = 9,	/* get on that socket: __u32, live splices of that service */
	SPLICE_SO_ALIGN = 10,	/* set on any socket: struct splice_align. ENOSPC: too many listeners */
};

/*
 * Argument of the set options (SERVICE aside). The tuples are read by RESERVE and ABORT only; the other
 * calls find the entry by the addresses of the socket that they are made on.
 */
struct splice_call {
	__u32 pending[2];	/* by leg: bytes that the proxy will still write to it (SETTLE, ACTIVATE) */
	struct splice_tuple tuple[2];
};				/* 80 bytes */

/*
 * Mark of a proxy's own SYN (SO_MARK), with enum splice_option of leg 0 in its low octet: what is to be
 * taken out of it, since the client lacks it.
 */
#define SPLICE_MARK_ALIGN 0x53504e00

/*
 * What clients of a listening address are not to negotiate, since the servers behind it cannot: it is
 * taken out of their SYNs before the stack sees them. options 0 forgets the address.
 */
struct splice_align {
	__u8 address[16];
	__be16 port;
	__u8 options;		/* enum splice_option, those of leg 0: TS0, SACK0, ECN0 */
	__u8 pad;
};				/* 20 bytes */

/* One socket, read under its lock. */
enum splice_trait {
	SPLICE_T_TIMESTAMPS = 0x01,
	SPLICE_T_SACK = 0x02,
	SPLICE_T_OUT_OF_ORDER = 0x04,	/* out-of-order data is queued */
	SPLICE_T_SIGNED = 0x08,		/* MD5 (RFC 2385) or AO (RFC 5925): cannot be spliced */
	SPLICE_T_MPTCP = 0x10,		/* RFC 8684: cannot be spliced */
	SPLICE_T_SYN_DATA = 0x20,	/* data came in the SYN (RFC 7413): not spliced */
	SPLICE_T_ECN = 0x40,
};

struct splice_snapshot {
	__u64 id;		/* of the entry that has this socket as a leg, or 0 */
	__u32 tcp_state;	/* TCP_ESTABLISHED = 1 ... (include/net/tcp_states.h) */
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 write_seq;
	__u32 mss;
	__u8 snd_wscale;
	__u8 rcv_wscale;
	__u8 traits;		/* enum splice_trait */
	__u8 leg_state;		/* enum splice_state, when id is not 0 */
	__u16 entry_flags;	/* enum splice_flag, when id is not 0 */
	__u16 pad;
};

#endif
