"""The traffic while the journal of the docs is recorded: `scene.py XTASK`.

The scene has every kind of row that is rare in a load: a socket that connects again while its
TIME_WAIT lasts, a TIME_WAIT whose place is taken, a worker that accepts connections of another
process's listener, ports without a listener, a client that calls at regular intervals, a process in
the cgroup of a unit, and another network namespace. The scene prints `ready`. Each of the next two
lines of input begins a part, and the scene prints `done` after it. The end of the input ends the
scene.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time

ADDRESS = "127.7.7.7"
PORTS = 120
CALLS = 12
APART = 1.1


def listener(port=0, family=socket.AF_INET, address=ADDRESS):
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(128)
    return server


def close_first(client, server):
    """Leaves the client's end in TIME_WAIT."""
    accepted, _ = server.accept()
    client.sendall(b"x" * 1000)
    accepted.recv(1000)
    client.shutdown(socket.SHUT_WR)
    accepted.close()
    client.recv(1)


def connect_again(server):
    """Returns both ends of a socket's third connection, while the first two are in TIME_WAIT."""
    client = socket.socket()
    for _ in range(2):
        client.connect(server.getsockname())
        close_first(client, server)
        # By a connect to AF_UNSPEC. Python has no address of that family.
        disconnect(client)
    client.connect(server.getsockname())
    return client, server.accept()[0]


def disconnect(client):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.connect(client.fileno(), bytes(16), 16) != 0:
        raise OSError(ctypes.get_errno(), "disconnecting")


def take_place(server):
    """Makes a connection take the place of a TIME_WAIT, which the kernel permits after a second."""
    place = None
    for _ in range(2):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(place or (ADDRESS, 0))
        place = client.getsockname()
        client.connect(server.getsockname())
        close_first(client, server)
        client.close()
        time.sleep(1.3)


def work(server):
    """Starts a worker, which accepts connections of its parent's listener."""
    worker = os.fork()
    if worker == 0:
        with open("/proc/self/comm", "w") as comm:
            comm.write("worker")
        kept = []
        while True:
            kept.append(server.accept()[0])
    return worker


def call_home(server):
    """Calls at regular intervals."""
    for _ in range(CALLS):
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"beacon")
        server.accept()[0].close()
        time.sleep(APART)


def run_in_unit(server):
    """Connects from a process in the cgroup of a unit that is gone afterwards."""
    with open("/proc/self/mounts") as mounts:
        root = next(line.split()[1] for line in mounts if line.split()[2] == "cgroup2")
    parent = f"{root}/netmondocs.slice"
    unit = f"{parent}/netmon-docs.service"
    os.makedirs(unit)
    try:
        host, port = server.getsockname()
        script = f"echo $$ > {unit}/cgroup.procs && exec 3<>/dev/tcp/{host}/{port}"
        subprocess.run(["bash", "-c", script], check=True)
        server.accept()[0].close()
    finally:
        os.rmdir(unit)
        os.rmdir(parent)


@contextlib.contextmanager
def namespace():
    """Makes a network namespace with the addresses of two hosts of the mix."""
    name = f"netmon-docs-{os.getpid()}"
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        for host in 1, 2:
            ip("-n", name, "addr", "add", f"fd00:1:{host}::1/128", "dev", "lo", "nodad")
        yield name
    finally:
        ip("netns", "del", name)


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def mix(xtask, name):
    """Makes connections of every kind for a second."""
    words = ["ip", "netns", "exec", name, xtask, "mix"]
    words += ["--network", "1", "--seconds", "1", "--host"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([*words, "1"], **pipes) as server:
        server.stdout.readline()
        # The input of the client stays open: its end would end the client too soon.
        with subprocess.Popen([*words, "2", "--server", "1"], **pipes) as client:
            client.stdout.read()
        server.stdin.close()
        server.stdout.read()
    assert server.returncode == 0 and client.returncode == 0, "the mix failed"


def rare(servers, kept):
    """Makes the rare kinds of rows."""
    beacon = threading.Thread(target=call_home, args=[servers[2]])
    beacon.start()
    kept.append(connect_again(servers[0]))
    # The worker keeps its ends of these connections.
    kept += [socket.create_connection(servers[1].getsockname()) for _ in range(3)]
    for port in range(1, PORTS + 1):
        with socket.socket() as client:
            client.connect_ex((ADDRESS, port))
    take_place(servers[0])
    run_in_unit(listener())
    # A listener ends, and a connection that is older than the recording.
    servers[3].close()
    for end in kept[0]:
        end.close()
    beacon.join()


def main():
    [xtask] = sys.argv[1:]
    servers = [listener(), listener(), listener(), listener(address="::1", family=socket.AF_INET6)]
    # These connections are older than the recording.
    kept = [(socket.create_connection(server.getsockname()[:2]), server.accept()[0])
            for server in servers]
    worker = work(servers[1])
    try:
        with namespace() as name:
            print("ready", flush=True)
            sys.stdin.readline()
            mix(xtask, name)
            rare(servers, kept)
            print("done", flush=True)
            sys.stdin.readline()
            mix(xtask, name)
            print("done", flush=True)
            sys.stdin.readline()
    finally:
        os.kill(worker, signal.SIGKILL)


main()
