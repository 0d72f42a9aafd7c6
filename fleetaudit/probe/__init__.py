"""What runs on a host, the conversation with it, and the verdict on what it observed."""
