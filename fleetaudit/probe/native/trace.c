/* Turns captured segments into the rows and headers that are reported. */
#include "trace.h"

#include <string.h>

#define MAX_MICROS 1e12
#define MAX_SECONDS 3.2e9

/* What is seen of each side while rows are made: whether it sent a SYN, and its sequence number. */
struct first_numbers {
    bool is_known[SIDES];
    uint32_t seq[SIDES];
};

long long micros(double seconds) {
    double found = seconds * 1e6;
    if (found > MAX_MICROS) {
        found = MAX_MICROS;
    }
    return (long long)(found < -MAX_MICROS ? -MAX_MICROS : found);
}

static enum side sender_of(const struct connection *c, const struct packet *packet) {
    return is_from(c, packet, CLOSER) ? CLOSER : PEER;
}

/* Returns a number of a side's stream counted from its SYN, 0 if that was not seen. */
static uint32_t relative(const struct first_numbers *first, enum side side, uint32_t number) {
    return first->is_known[side] ? number - first->seq[side] : 0;
}

static struct row make_row(const struct connection *c, const struct packet *packet,
                           struct first_numbers *first) {
    struct row row = {.packet = packet, .sender = sender_of(c, packet)};
    row.at = micros(packet->at - c->began + 5e-7);
    if (!(packet->bits & TCP_SYN)) {
        row.seq = relative(first, row.sender, packet->seq);
    } else { /* the last SYN: a second one may be of another connection between these ports */
        first->is_known[row.sender] = true;
        first->seq[row.sender] = packet->seq;
    }
    if (packet->bits & TCP_ACK) {
        row.ack = relative(first, other_side(row.sender), packet->ack);
    }
    flag_names(packet->bits, row.flags);
    return row;
}

static int count_control(const struct packets *packets) {
    int count = 0;
    for (int i = 0; i < packets->count; i++) {
        count += has_control(&packets->packet[i]);
    }
    return count;
}

/* Which segments are reported: those with control flags, and the first and last of the others. Of
   more than MAX_TRACE with control flags only the first and last are, and no others. */
struct selection {
    int plain, control;           /* how many of each there are */
    int seen_plain, seen_control; /* and how many were decided on */
    int first_plain, last_plain;  /* how many are reported */
    bool takes_all;
};

static struct selection start_selection(const struct packets *packets) {
    struct selection chosen = {.control = count_control(packets)};
    chosen.plain = packets->count - chosen.control;
    int room = chosen.control < MAX_TRACE ? MAX_TRACE - chosen.control : 0;
    chosen.takes_all = packets->count <= MAX_TRACE;
    chosen.first_plain = room / 2;
    chosen.last_plain = room - room / 2;
    return chosen;
}

/* Returns whether the next segment is reported. */
static bool is_reported(struct selection *chosen, const struct packet *packet) {
    if (chosen->takes_all) {
        return true;
    }
    if (!has_control(packet)) {
        int number = chosen->seen_plain++;
        return number < chosen->first_plain || number >= chosen->plain - chosen->last_plain;
    }
    int number = chosen->seen_control++;
    return number < MAX_TRACE / 2 || number >= chosen->control - MAX_TRACE / 2 ||
           chosen->control <= MAX_TRACE;
}

void make_trace(const struct connection *c, struct trace *trace) {
    struct first_numbers first = {{false, false}, {0, 0}};
    struct selection chosen = start_selection(&c->packets);
    trace->rows = 0;
    for (int i = 0; i < c->packets.count; i++) {
        const struct packet *packet = &c->packets.packet[i];
        struct row row = make_row(c, packet, &first);
        if (is_reported(&chosen, packet)) {
            trace->row[trace->rows++] = row;
        }
    }
    trace->omitted = c->packets.count + c->packets.lost - trace->rows;
}

static const char *separator(const struct text *text) {
    return text->length ? "," : "";
}

void add_rows(struct trial *trial, const struct trace *trace) {
    struct text *json = &trial->shape;
    text_put(json, "[");
    for (int i = 0; i < trace->rows; i++) {
        const struct row *row = &trace->row[i];
        const struct packet *packet = row->packet;
        text_format(json, "%s[\"%s\",\"%s\",%u,%u,%d", i ? "," : "", side_name(row->sender),
                    row->flags, row->seq, row->ack, packet->length);
        /* Most segments are not urgent and have no options, and 0 and "" may be left out. */
        if (packet->urgent || packet->options[0]) {
            text_format(json, ",%d,\"%s\"", packet->urgent, packet->options);
        }
        text_put(json, "]");
        text_format(&trial->at, "%s%lld", separator(&trial->at), row->at);
        text_format(&trial->windows, "%s%d", separator(&trial->windows), packet->window);
    }
    text_put(json, "]");
}

/* Each side's port and window scale, the closer's first. */
struct ends {
    bool has_syn;
    int port[SIDES], scale[SIDES];
};

static struct ends find_ends(const struct connection *c) {
    struct ends ends = {.scale = {-1, -1}};
    bool is_known[SIDES] = {false, false};
    for (int i = 0; i < c->packets.count; i++) {
        const struct packet *packet = &c->packets.packet[i];
        enum side side = sender_of(c, packet);
        if (!(packet->bits & TCP_SYN)) {
            continue;
        }
        ends.has_syn = true;
        ends.port[side] = packet->source;
        ends.port[other_side(side)] = packet->target;
        if (!is_known[side]) {
            ends.scale[side] = packet->scale;
        }
        is_known[side] = true;
    }
    return ends;
}

static void add_scale(struct text *json, int scale) {
    if (scale < 0) {
        text_put(json, "null");
    } else {
        text_format(json, "%d", scale);
    }
}

static void add_headers(struct trial *trial, const struct trace *trace) {
    for (int i = 0; i < trace->rows; i++) {
        const struct packet *packet = trace->row[i].packet;
        text_add(&trial->headers, (const char *)packet->headers, (size_t)packet->headers_length);
    }
}

void add_connection(const struct connection *c, struct trial *trial, const struct trace *trace) {
    struct text *json = &trial->shape;
    struct ends ends = find_ends(c);
    if (!ends.has_syn) {
        return;
    }
    text_put(json, ",\"connection\":{\"scales\":[");
    add_scale(json, ends.scale[CLOSER]);
    text_put(json, ",");
    add_scale(json, ends.scale[PEER]);
    text_put(json, c->kind == KIND_MAPPED ? "],\"mapped\":true}" : "]}");
    trial->has_connection = true;
    double began = c->began < MAX_SECONDS ? c->began : MAX_SECONDS;
    text_format(&trial->began, "%.6f", began > 0 ? began : 0.0);
    text_format(&trial->ports, "%d,%d", ends.port[CLOSER], ends.port[PEER]);
    add_headers(trial, trace);
}

static long long least(long long value, long long most) {
    return value < most ? value : most;
}

/* How far each side had come, and whether it sent anything. */
struct reached {
    bool has_sent[SIDES];
    long long end[SIDES];
};

static void add_reached(struct text *key, const struct reached *reached, long long most) {
    for (enum side side = CLOSER; side < SIDES; side++) {
        if (reached->has_sent[side]) {
            text_format(key, " %s=%lld", side_name(side), least(reached->end[side], most));
        }
    }
    text_put(key, "\n");
}

static void add_segment(struct text *key, const struct row *row, long long most) {
    text_format(key, "%s ", side_name(row->sender));
    for (const char *flag = row->flags; *flag; flag++) {
        if (*flag != 'P') {
            text_add(key, flag, 1);
        }
    }
    text_format(key, " %lld %s", least(row->packet->urgent, most), row->packet->options);
}

/* That is how data was cut into segments, which ACKs were sent alone, and windows. What remains is
   each segment with SYN, FIN, RST, URG or an option but SACK, and how far both sides had come. */
void add_essence(struct text *key, const struct trace *trace, long long most) {
    struct reached reached = {{false, false}, {0, 0}};
    for (int i = 0; i < trace->rows; i++) {
        const struct row *row = &trace->row[i];
        const struct packet *packet = row->packet;
        long long end = (long long)row->seq + packet->length;
        reached.has_sent[row->sender] = true;
        if (end > reached.end[row->sender]) {
            reached.end[row->sender] = end;
        }
        bool has_options = packet->options[0] && strcmp(packet->options, "SACK") != 0;
        if (!has_options && !has_control(packet)) {
            continue;
        }
        add_segment(key, row, most);
        add_reached(key, &reached, most);
    }
    add_reached(key, &reached, most);
}

const char *captured_ending(const struct trace *trace) {
    bool has_fin = false;
    for (int i = 0; i < trace->rows; i++) {
        const struct row *row = &trace->row[i];
        if (row->sender != CLOSER) {
            continue;
        }
        if (row->packet->bits & TCP_FIN) {
            has_fin = true;
        }
        if (row->packet->bits & TCP_RST) {
            return has_fin ? "FIN, then RST" : "RST";
        }
        if (strstr(row->packet->options, "DATA_FIN")) {
            has_fin = true;
        }
    }
    return has_fin ? "FIN" : "nothing";
}
