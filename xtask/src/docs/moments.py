"""Compares the page's query for the table at a moment with netmon's answer, row by row."""

import collections
import datetime
import itertools
import random

import duckdb

from page import MOMENT

# Moments that are chosen by chance, besides the moments at which a segment begins.
BY_CHANCE = 8
MICROSECOND = datetime.timedelta(microseconds=1)
COLUMNS = ["host", "state", "netns", "local_addr", "local_port", "remote_addr",
           "remote_port", "pid", "comm", "uid", "cgroup_id", "cookie"]


def compare(netmon, query):
    """Fails for the first moment at which the query and netmon differ."""
    several = 0
    for moment in moments():
        rows = netmon.json("snapshot", "-tanp", "--json", "--at", moment.isoformat())
        relation = duckdb.sql(query.replace(MOMENT, str(moment)))
        read = [dict(zip(relation.columns, row)) for row in relation.fetchall()]
        # netmon gives a namespace one name for all its rows, also for rows older than the name.
        names = {(row["host"], row["netns"], row["netns_name"])
                 for row in read if row["netns_name"]}
        assert names <= {(row["host"], row["netns"], row.get("netns_name")) for row in rows}, names
        rows, read = counted(rows), counted(read)
        only = list((rows - read).items())[:5], list((read - rows).items())[:5]
        assert rows == read, f"{moment}: only netmon: {only[0]}; only the query: {only[1]}"
        sockets = collections.Counter((row[0], row[-1]) for row in rows)
        several += sum(count > 1 for count in sockets.values())
        print(f"the same: the table at {moment}, {sum(rows.values())} rows", flush=True)
    assert several, "no socket had two connections at any of these moments"


def moments():
    """Returns moments by chance, on both sides of beginnings, and after sockets connect again."""
    files = "'events/*/*/*.parquet'"
    # The span that every host's journal covers.
    [(begin, end)] = duckdb.sql(
        "SELECT max(first), min(last) FROM "
        f"(SELECT min(time) AS first, max(time) AS last FROM {files} GROUP BY host)"
    ).fetchall()

    def is_covered(moment):
        return begin < moment < end

    chance = random.Random(str(begin))
    asked = (begin + (end - begin) * chance.random() for _ in itertools.count())
    asked = list(itertools.islice(filter(is_covered, asked), BY_CHANCE))
    starts = duckdb.sql(
        "SELECT DISTINCT time FROM 'checkpoints/*/*/*.parquet' ORDER BY time").fetchall()
    for start in chance.sample([start for start, in starts if is_covered(start - MICROSECOND)], 2):
        asked += [start - MICROSECOND, start]
    again = duckdb.sql(
        f"SELECT max(opened) AS last FROM {files} WHERE NOT first_sight "
        "GROUP BY host, boot_id, cookie HAVING count(DISTINCT opened) > 1 ORDER BY last").fetchall()
    again = [last for last, in again if is_covered(last)]
    assert again, "no socket has connected again"
    return asked + again[:2]


def counted(rows):
    """Counts equal rows of the listing, or of the query."""
    counts = collections.Counter()
    for row in rows:
        owners = row.get("owners") or [{}]
        counts[tuple({**row, **owners[0]}.get(name) for name in COLUMNS)] += 1
    return counts
