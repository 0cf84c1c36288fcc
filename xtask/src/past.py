"""Compares netmon's view of the past with the result of SQL over the journal's files.

`past.py JOURNAL NETMON MOMENTS SEED`
"""

import datetime
import glob
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

import duckdb

# The limit of a query or a command, longer than any takes, in seconds.
PATIENCE = 900
# A segment may have rows that are so much older than its beginning, in microseconds
# (netmon/src/journal/intervals.rs).
LATE = 80_000_000
# The largest distance of a moment near the beginning of a segment, in microseconds.
NEAR = 5
# Differing rows that are printed, at most.
SHOWN = 5
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)

# The cookie and the place of a connection. An unknown port is port 0.
KEY = """cookie, netns, local_addr, coalesce(local_port, 0)::INT AS local_port,
    remote_addr, coalesce(remote_port, 0)::INT AS remote_port"""

# The table at a moment: the checkpoint of its segment, then the last event of each connection
# since. A cookie has two rows where its socket has connected again before its TIME_WAIT was over. A
# port that was not known at first is the port that the same connection has later. A late event that
# is earlier than the checkpoint does not change a row of the checkpoint. Events of every kind name
# the owner, but not the events of an earlier connection at the same place, which has another
# beginning. A listing names the process that holds a socket: of two rows of a cookie, a row whose
# owner is unknown has the owner of the other row.
TABLE = """
CREATE OR REPLACE TEMP TABLE sql_rows AS
WITH checkpoint AS (
    SELECT {key}, opened, first_sight, state, pid, 0::HUGEINT AS rank
    FROM read_parquet($checkpoint)
), event AS (
    SELECT {key}, opened, first_sight, coalesce(new_state, state) AS state,
        pid, epoch_us(time)::HUGEINT * 10000000 + tie
            - if(late AND time < make_timestamptz($start), 10::HUGEINT ** 25, 0)::HUGEINT AS rank
    FROM read_parquet($events)
    WHERE time <= make_timestamptz($moment) AND cookie IS NOT NULL
), step AS MATERIALIZED (
    FROM checkpoint UNION ALL FROM event
), known AS (
    SELECT cookie, opened, max(local_port) AS known_port FROM step
    WHERE cookie IN (SELECT cookie FROM step WHERE local_port = 0) GROUP BY ALL
), place AS (
    SELECT step.* REPLACE (coalesce(nullif(local_port, 0), known_port) AS local_port)
    FROM step LEFT JOIN known USING (cookie, opened)
), now AS (
    SELECT *, arg_max(opened, rank - if(first_sight, 10::HUGEINT ** 30, 0)::HUGEINT) OVER (
        PARTITION BY cookie, netns, local_addr, local_port, remote_addr, remote_port
    ) AS is_of FROM place
), last AS (
    SELECT cookie, netns, local_addr, coalesce(local_port, 0) AS local_port, remote_addr,
        remote_port, arg_max(state, rank) AS state,
        arg_max(pid, rank) FILTER (opened = is_of)::INT AS pid
    FROM now
    GROUP BY cookie, netns, local_addr, now.local_port, remote_addr, remote_port
)
SELECT * REPLACE (coalesce(pid, max(pid) OVER (PARTITION BY cookie)) AS pid)
FROM last WHERE state <> 'CLOSE'
""".format(key=KEY)

# The table as netmon prints it.
LISTING = """
CREATE OR REPLACE TEMP TABLE netmon_rows AS
SELECT {key}, state, owners[1].pid AS pid
FROM read_json($file, format = 'newline_delimited', columns = {{
    cookie: 'BIGINT', netns: 'BIGINT', local_addr: 'VARCHAR', local_port: 'INT',
    remote_addr: 'VARCHAR', remote_port: 'INT', state: 'VARCHAR', owners: 'STRUCT(pid INT)[]'}})
""".format(key=KEY)

journal, netmon, moments, seed = sys.argv[1:]
moments, seed = int(moments), int(seed)
random.seed(seed)
duck = duckdb.connect()
duck.execute("SET timezone = 'UTC'")
work = tempfile.TemporaryDirectory()


def query(text, **values):
    """Returns the rows of a query, which takes PATIENCE at most."""
    timer = threading.Timer(PATIENCE, duck.interrupt)
    timer.start()
    try:
        return duck.execute(text, values).fetchall()
    finally:
        timer.cancel()


def ask(name, *words):
    """Runs netmon. Returns the path of a file with its output."""
    path = os.path.join(work.name, name)
    command = [netmon, *words[:1], "--journal", journal, *words[1:]]
    with open(path, "w") as out:
        pipe = subprocess.PIPE
        ran = subprocess.run(command, stdout=out, stderr=pipe, text=True, timeout=PATIENCE)
    if ran.returncode != 0:
        sys.exit(f"past: {' '.join(command)}: {ran.stderr}")
    return path


def text_of(moment):
    return (EPOCH + moment * MICROSECOND).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def start_of(path):
    name = os.path.basename(path)
    start = datetime.datetime.strptime(name, "%Y%m%dT%H%M%S.%fZ.parquet")
    return (start.replace(tzinfo=datetime.timezone.utc) - EPOCH) // MICROSECOND


def files_of(dataset):
    return glob.glob(f"{glob.escape(journal)}/{dataset}/date=*/host=*/*.parquet")


events = {start_of(path): path for path in files_of("events")}
checkpoints = {start_of(path): path for path in files_of("checkpoints")}
starts = sorted(events)
assert starts, "the journal has no segment that is done"
live = glob.glob(f"{glob.escape(journal)}/_live/host=*/*.arrows")
assert not live, "a segment is still being written"
first = starts[0]
[(count, last, hosts)] = query(
    "SELECT count(*), epoch_us(max(time)), count(DISTINCT host) "
    "FROM read_parquet($files, hive_partitioning = true)",
    files=list(events.values()),
)
assert hosts == 1, f"the journal is of {hosts} hosts"
covered = f"{text_of(first)} to {text_of(last)}"
print(f"{count} events in {len(starts)} segments, {covered}, seed {seed}", flush=True)


def draw():
    """Draws a moment of each segment in turn, in every fourth turn next to the segment's beginning.

    Every fifth moment is of the first segment, where the first dump meets the traffic.
    """
    drawn = []
    for number in range(moments):
        place = number % len(starts) if number % 5 else 0
        start, end = starts[place], (starts + [last])[place + 1]
        is_near = number // len(starts) % 4 == 0
        near = start + random.randint(-NEAR, NEAR)
        moment = near if is_near else random.randint(start, max(start, end))
        drawn.append(min(max(moment, first), last))
    return sorted(drawn)


def compare(moment):
    """Returns the numbers of rows and of differing rows, and the seconds of netmon and DuckDB."""
    began = time.monotonic()
    words = ["-tap", "-n", "--json", "--at", text_of(moment)]
    listing = ask("rows", "snapshot", *words)
    asked = time.monotonic()
    own = max(start for start in starts if start <= moment)
    later = [path for start, path in events.items() if own <= start <= moment + LATE]
    query(TABLE, checkpoint=checkpoints[own], events=later, moment=moment, start=own)
    made = time.monotonic()
    query(LISTING, file=listing)
    counts = query("SELECT (SELECT count(*) FROM netmon_rows), (SELECT count(*) FROM sql_rows)")[0]
    differing = 0
    rows = {"netmon": "netmon_rows", "SQL": "sql_rows"}
    for name, other in [("netmon", "SQL"), ("SQL", "netmon")]:
        only = query(f"FROM {rows[name]} EXCEPT ALL FROM {rows[other]} ORDER BY ALL")
        differing += len(only)
        for row in only[:SHOWN]:
            print(f"at {text_of(moment)} only {name}: {row}", flush=True)
    return counts, differing, asked - began, made - asked


def table_at_moments():
    rows, wrong, differing, netmons, ducks = 0, 0, 0, [], []
    for number, moment in enumerate(draw(), 1):
        (netmon_rows, sql_rows), different, netmon_took, duck_took = compare(moment)
        rows, differing, wrong = rows + sql_rows, differing + different, wrong + (different > 0)
        netmons.append(netmon_took)
        ducks.append(duck_took)
        print(
            f"{number}/{moments} {text_of(moment)}: rows: netmon {netmon_rows}, SQL {sql_rows}; "
            f"{different} differ; {netmon_took:.2f} s, {duck_took:.2f} s",
            file=sys.stderr,
        )
    netmons.sort()
    ducks.sort()
    took = ", ".join(
        f"{name} {times[len(times) // 2]:.2f} s ({times[0]:.2f}..{times[-1]:.2f})"
        for name, times in [("netmon", netmons), ("DuckDB", ducks)]
    )
    found = f"{rows} rows in all: {differing} differ, at {wrong} moments"
    print(f"snapshot --at: {moments} moments, {found}")
    print(f"a moment takes {took}", flush=True)
    return differing


def out_of_order(path, find):
    """Returns the number of lines, and of lines that come after a line of a later moment."""
    lines, late, latest = 0, 0, ""
    with open(path) as file:
        for line in file:
            found = find(line)
            if not found:
                continue
            moment = found[1]
            lines += 1
            if moment < latest:
                late += 1
                if late <= SHOWN:
                    print(f"after {latest}: {line.strip()}", flush=True)
            latest = max(latest, moment)
    return lines, late


def order_of_lines():
    span = ["--from", text_of(first), "--to", text_of(last)]
    of_text = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6})")
    # In JSON a gap has its beginning before its time.
    of_json = re.compile(r'"time":"([^"]+)"')
    bad = 0
    for name, words, find in [("lines", [], of_text.match), ("JSON", ["--json"], of_json.search)]:
        began = time.monotonic()
        path = ask("lines", "watch", "-n", "--utc", *words, *span)
        lines, late = out_of_order(path, find)
        took = time.monotonic() - began
        found = f"{lines}, of which {late} come after a later one"
        print(f"watch, {name}: {found}; {took:.1f} s", flush=True)
        # One line for each transition at least.
        bad += late + (lines < count // 2)
        os.remove(path)
    return bad


def count_of_history():
    path = ask("history", "history", "--json")
    options = "format = 'newline_delimited', columns = {type: 'VARCHAR'}"
    kinds = f"SELECT type, count(*) FROM read_json($file, {options}) GROUP BY ALL ORDER BY ALL"
    counts = dict(query(kinds, file=path))
    [(made,)] = query("SELECT count(*) FROM read_parquet($files)", files=files_of("connections"))
    print(f"history: {counts}; SQL counts {made} connections that ended", flush=True)
    return abs(counts.get("closed", 0) - made)


differing = table_at_moments()
unordered = order_of_lines()
uncounted = count_of_history()
if differing or unordered or uncounted:
    sys.exit("past: netmon and SQL differ")
print("past: netmon's tables equal SQL's, its lines are in order, and no connection is missing")
