"""Forwards TCP connections to a port, and cuts each after as many bytes of the server as the file LIMIT says, if any.

cut.py PORT LIMIT; prints the port that it listens on.
"""

import pathlib
import socket
import sys
import threading


def pump(source, target, limit):
    try:
        while limit is None or limit > 0:
            data = source.recv(4096 if limit is None else min(4096, limit))
            if not data:
                break
            limit = limit if limit is None else limit - len(data)
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main():
    port, limit_file = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:
            client.close()
            continue
        limit = int(limit_file.read_text()) if limit_file.exists() else None
        threading.Thread(target=pump, args=(client, server, None), daemon=True).start()
        threading.Thread(target=pump, args=(server, client, limit), daemon=True).start()


main()
