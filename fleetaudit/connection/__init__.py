"""From the variables of a host, options and ansible.cfg to the target that a transport reaches."""
