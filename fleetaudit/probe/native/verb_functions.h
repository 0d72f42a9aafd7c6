/* The verbs, each in the file that has its Python name; see verbs.h. */
#ifndef FLEETAUDIT_VERB_FUNCTIONS_H
#define FLEETAUDIT_VERB_FUNCTIONS_H

#include <stdbool.h>

#include "connection.h"

typedef bool verb_function(struct connection *c, const struct step *step, struct failure *failure);

/* closing.c */
verb_function close_side, close_other, destroy, disconnect, end, refer, shut;
/* connecting.c */
verb_function accept_waiting, connect_step, fill_queue, set_backlog, set_option, set_sysctl, sign;
/* raw_segments.c */
verb_function resend, resend_fin, send_out_of_order;
/* reading.c */
verb_function discard, peek, read_all, read_some, read_to_end, read_urgent, read_waitall,
    splice_out;
verb_function try_read;
/* sending.c */
verb_function send_some, send_until_blocked, send_urgent;
/* stories.c */
verb_function queue_up, reconnect, share_port, vanish;
/* firewall.c */
verb_function drop_segments;

#endif
