/* The steps of stories that few playbooks tell: `remote/stories.py`. */
#include "capture.h"
#include "verb_functions.h"

/* Has a side's kernel drop every segment for it: sk_filter() comes before the connection. */
bool vanish(struct connection *c, const struct step *step, struct failure *failure) {
    int fd = socket_of(c, side_of_actor(step->actor), failure);
    if (fd < 0) {
        return false;
    }
    c->has_vanished = reject_all(fd);
    return c->has_vanished || fail_by_errno(failure);
}
