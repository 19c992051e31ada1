/* SPDX-License-Identifier: MIT */
/* A flow, the group that it belongs to, and what the parts of this program know of each other. */
#ifndef FLOW_H
#define FLOW_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define FOREVER UINT64_MAX
#define HEAD_MAX 512
#define TRAILER_SIZE 32
#define GROUPS_MAX 256
#define NAME_MAX_LENGTH 31
#define ENDPOINTS_MAX 64
#define CAUSES_MAX 24

enum kind { DOWNLOAD, UPLOAD, BOTH, PING, IDLE, KINDS };

enum state {
	CONNECTING,	/* client: connect() has been called */
	HEAD,		/* client: waits for the answer; server: for the request */
	TALKING,
	CLOSING,	/* the client has half-closed; the trailer is on its way */
};

/* Why flows ended wrongly, by name. */
struct cause {
	char name[28];
	uint64_t count;
};

struct endpoint {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t size;
};

struct flow {
	struct group *group;
	uint64_t key;
	uint64_t sent, to_send;		/* of this side's stream; to_send grows where echoes are owed */
	uint64_t received;
	int64_t begun;			/* ns */
	int64_t since;			/* this side waits for bytes from then on (ns); 0: it does not */
	int64_t stall;			/* longest wait behind the mark, ns */
	char *head;			/* while it is read, or written */
	int fd;
	uint32_t place;			/* in `flows` */
	uint32_t slot;			/* client: in group->slots */
	uint32_t watched;		/* events that epoll has been asked for */
	uint16_t head_length;
	uint8_t state;
	uint8_t tail_length;
	bool ending;			/* client: to be half-closed as soon as its stream is out */
	uint8_t tail[TRAILER_SIZE];	/* last bytes while CLOSING: the trailer at the end */
};

struct group {
	char name[NAME_MAX_LENGTH + 1];
	enum kind kind;
	uint64_t count, bytes, pace, size, seed, rate, opening;
	int64_t every;			/* ns between the messages of one flow */
	struct endpoint to[ENDPOINTS_MAX], from[ENDPOINTS_MAX];
	unsigned int tos, froms;
	struct flow **slots;
	int64_t started;
	uint64_t next_open, next_ping, next_end;
	bool ending;
	/* counts */
	uint64_t begun, opened, setting_up, alive, closing, ended, not_made;
	uint64_t resets, wrong, bytes_sent, bytes_received;
	struct cause not_made_by[CAUSES_MAX], broken_by[CAUSES_MAX];
	/* stalls of flows that have ended since the mark, ns */
	int64_t *ended_stalls;
	uint64_t ended_stalls_count, ended_stalls_room;
};

extern const char *const kind_names[KINDS];
extern struct group groups[GROUPS_MAX];
extern unsigned int groups_count;
extern struct flow **flows;
extern uint32_t flows_count;
extern int64_t mark_at;
extern bool serving;
extern int epoll_fd;

int64_t now_ns(void);
__attribute__((noreturn)) void fail(const char *what);

/* flow.c: what client and server have in common */
struct flow *flow_new(struct group *group, int fd);
void flow_watch(struct flow *flow, uint32_t events);
void flow_tune(struct flow *flow);
void flow_progress(struct flow *flow, int64_t now);
void flow_wait(struct flow *flow, int64_t now);
bool flow_send(struct flow *flow);
bool flow_send_raw(struct flow *flow, const void *bytes, uint64_t n);
int flow_read_head(struct flow *flow);
long flow_read(struct flow *flow, int64_t now, void (*ended)(struct flow *flow));
void flow_end(struct flow *flow);
void flow_lose(struct flow *flow, const char *why);
void flow_lose_errno(struct flow *flow);

/* client.c */
void client_event(struct flow *flow, uint32_t events, int64_t now);
int64_t client_work(int64_t now);
void client_start(struct group *group);

/* server.c */
void server_listen(const struct endpoint *at);
void server_accept(void *listener);
void server_event(struct flow *flow, uint32_t events, int64_t now);

/* report.c */
struct group *group_named(const char *name, bool create);
void count_cause(struct cause *causes, const char *name);
void keep_stall(struct group *group, int64_t stall);
void mark(void);
void report(bool with_stalls);
void tell_lost(const struct flow *flow, const char *why, bool made);

#endif
