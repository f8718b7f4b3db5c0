"""A byte there and back every millisecond, by a program without a garbage collector: `serve PORT`, or `ping SOURCE ADDRESS PORT SECONDS`.
The latter prints, for every answer, when it came (CLOCK_MONOTONIC) and how long after the one before, both in milliseconds."""

import socket
import sys
import threading
import time


def serve(port):
    listener = socket.create_server(("", port))
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=echo, args=(peer,), daemon=True).start()


def echo(peer):
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := peer.recv(64):
        peer.sendall(data)


def ping(source, address, port, seconds):
    peer = socket.create_connection((address, port), timeout=10, source_address=(source, 0))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers = []
    began = last = due = time.monotonic()
    while last < began + seconds:
        peer.sendall(b"x")
        if not peer.recv(64):
            sys.exit("the connection was closed")
        now = time.monotonic()
        answers.append((now, now - last))
        last = now
        due = max(due + 0.001, now)
        time.sleep(due - now)
    for at, gap in answers:
        print(f"{at * 1000:.3f} {gap * 1000:.3f}")


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    ping(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
