"""The table at a moment: the page's query and netmon's answer, row by row."""

import collections
import datetime
import itertools
import random

import duckdb

from page import MOMENT

# Moments that are chosen by chance, besides those at which a segment begins.
BY_CHANCE = 8
MICROSECOND = datetime.timedelta(microseconds=1)
COLUMNS = ["host", "state", "netns", "local_addr", "local_port", "remote_addr",
           "remote_port", "pid", "comm", "uid", "cgroup_id", "cookie"]


def compare(netmon, query):
    """Fails for the first moment at which the two differ."""
    several = 0
    for moment in moments():
        said = netmon.json("snapshot", "-tanp", "--json", "--at", moment.isoformat())
        relation = duckdb.sql(query.replace(MOMENT, str(moment)))
        read = [dict(zip(relation.columns, row)) for row in relation.fetchall()]
        # netmon gives a namespace one name for all its rows, also for rows older than the name.
        names = {(row["host"], row["netns"], row["netns_name"])
                 for row in read if row["netns_name"]}
        assert names <= {(row["host"], row["netns"], row.get("netns_name")) for row in said}, names
        said, read = counted(said), counted(read)
        only = list((said - read).items())[:5], list((read - said).items())[:5]
        assert said == read, f"{moment}: only netmon: {only[0]}; only the query: {only[1]}"
        sockets = collections.Counter((row[0], row[-1]) for row in said)
        several += sum(count > 1 for count in sockets.values())
        print(f"the same: the table at {moment}, {sum(said.values())} rows", flush=True)
    assert several, "no socket had two connections at any of these moments"


def moments():
    """By chance, on both sides of a beginning, and just after a socket has connected again."""
    files = "'events/*/*/*.parquet'"
    # What every host's journal covers.
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
    """How often there is which row: of the listing, or of the query."""
    counts = collections.Counter()
    for row in rows:
        owners = row.get("owners") or [{}]
        counts[tuple({**row, **owners[0]}.get(name) for name in COLUMNS)] += 1
    return counts
