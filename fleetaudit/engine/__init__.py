"""Many hosts at once: scheduling, deadlines, retries, and exactly one result for every host."""
