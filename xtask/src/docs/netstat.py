"""Compares the records that jc reads in the output of netstat and of `netmon netstat`.

Runs in a network namespace of its own: netstat.py NETMON
"""

import socket
import subprocess
import sys

import jc

# Flags of both, all with numbers and whole addresses, and without names of processes.
FLAGS = ["-anW", "-atnW", "-aunW", "-tanoW", "-tanW", "-xa", "-rn", "-rne", "-rnee", "-i", "-ia"]


def output(command):
    # A timer's time differs between two runs.
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return "\n".join(line.split(" off (")[0] for line in text.splitlines()) + "\n"


def main(netmon):
    subprocess.run("ip link set lo up && ip route add 10.7.0.0/16 dev lo", shell=True, check=True)
    held = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        listener = socket.create_server((address, 8080), family=family)
        client = socket.create_connection((address, 8080))
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        datagrams.bind((address, 9090))
        held += [listener, client, listener.accept(), datagrams]
    held.append(socket.socketpair())
    for flags in FLAGS:
        records = [
            jc.parse("netstat", output(program + [flags]))
            for program in (["netstat"], [netmon, "netstat"])
        ]
        if records[0] != records[1] or not records[0]:
            sys.exit(f"netstat {flags}: jc reads {records[0]}, and of netmon {records[1]}")
        print(f"netstat {flags}: {len(records[0])} records, the same for jc")


main(sys.argv[1])
