/* SPDX-License-Identifier: GPL-2.0 */
/* The tracepoints, homa:homa_*. src/observe/trace.rs says what each is for. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM homa

#if !defined(HOMA_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define HOMA_TRACE_H

#include <linux/tracepoint.h>
#include "shim.h"

DECLARE_EVENT_CLASS(homa_event,
	TP_PROTO(const struct shim_event *event),
	TP_ARGS(event),
	TP_STRUCT__entry(
		__field(u64, netns)
		__field(u64, id)
		__field(u32, offset)
		__field(u32, length)
		__field(u16, port)
		__field(u16, peer_port)
		__array(u8, peer, 16)
		__string_len(what, event->what, event->what_len)
	),
	TP_fast_assign(
		__entry->netns = event->netns;
		__entry->id = event->id;
		__entry->offset = event->offset;
		__entry->length = event->length;
		__entry->port = event->port;
		__entry->peer_port = event->peer_port;
		memcpy(__entry->peer, event->peer, 16);
		__assign_str(what);
	),
	TP_printk("%s id=%llu port=%u peer=[%pI6c]:%u offset=%u length=%u netns=%llu",
		  __get_str(what), __entry->id, __entry->port, __entry->peer,
		  __entry->peer_port, __entry->offset, __entry->length,
		  __entry->netns)
);

#define HOMA_EVENT(name) DEFINE_EVENT(homa_event, homa_##name, \
	TP_PROTO(const struct shim_event *event), TP_ARGS(event))

HOMA_EVENT(rpc_start);
HOMA_EVENT(rpc_end);
HOMA_EVENT(message_out);
HOMA_EVENT(message_in);
HOMA_EVENT(drop);
HOMA_EVENT(resend);
HOMA_EVENT(retransmit);
HOMA_EVENT(timeout);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
