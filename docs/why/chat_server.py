"""A chat server and its client in one process: how one heartbeat byte turns a FIN into an RST.

    python3 chat_server.py           the server closes its socket at once
    python3 chat_server.py --cure    the server half-closes, reads what is left, then closes

The client sends its heartbeat as urgent data (MSG_OOB) to port 5222 of 127.0.0.1. The server reads
that byte as manuals show it, with recv(1, MSG_OOB).
"""

import socket
import sys
import time


def close_at_once(connection: socket.socket) -> None:
    connection.close()


def close_in_order(connection: socket.socket) -> None:
    """The cure: half-close, read to the end within bounds, then close."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(2)
    while connection.recv(4096):
        pass
    connection.close()


def read_to_the_end(connection: socket.socket) -> None:
    """Prints what the client's reads return, up to the end of file or an error."""
    try:
        while data := connection.recv(100):
            print("client reads", data)
        print("client reads the end of file")
    except ConnectionResetError as e:
        print("client fails:", e.strerror)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 5222))
    client = socket.create_connection(("127.0.0.1", 5222))
    server, _ = listener.accept()
    client.send(b"!", socket.MSG_OOB)  # the heartbeat
    time.sleep(0.1)
    print("server reads", server.recv(1, socket.MSG_OOB))
    server.sendall(b"goodbye\n")
    if "--cure" in sys.argv:
        client.shutdown(socket.SHUT_WR)  # the client has nothing more to say
        close_in_order(server)
    else:
        close_at_once(server)
    time.sleep(0.1)
    read_to_the_end(client)


if __name__ == "__main__":
    main()
