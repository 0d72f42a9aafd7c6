"""The program that runs on a host, the protocol with it, and the verdict on its observations."""
