"""DuckDB's answers from a journal, and their cost, on one thread.

`past.py middle FILE`: the moment in the middle of a file.
`past.py rare JOURNAL COLUMN`: the value of the column that the fewest connections have.
`past.py select JOURNAL CONDITION`: the seconds of CPU to write the connections that meet the
condition as JSON, by time, and the number of these connections.
"""

import resource
import sys

import duckdb


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def connections(journal):
    return f"read_parquet('{journal}/connections/date=*/host=*/*.parquet')"


action, place = sys.argv[1:3]
# The start of Python and of its modules is not DuckDB's work.
before = cpu()
duck = duckdb.connect()
duck.execute("PRAGMA threads=1; SET timezone = 'UTC'; SET enable_progress_bar = false")
if action == "middle":
    [(moment,)] = duck.execute(f"SELECT median(time) FROM '{place}'").fetchall()
    print(moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
elif action == "rare":
    column = sys.argv[3]
    known = f"FROM {connections(place)} WHERE {column} IS NOT NULL"
    rarest = f"SELECT {column} {known} GROUP BY ALL ORDER BY count(*), 1 LIMIT 1"
    print(duck.execute(rarest).fetchall()[0][0])
else:
    columns = "* EXCLUDE (tie, clock_offset, boot_id)"
    select = f"SELECT {columns} FROM {connections(place)} WHERE {sys.argv[3]} ORDER BY time"
    [(rows,)] = duck.execute(f"COPY ({select}) TO '/dev/null' (FORMAT json)").fetchall()
    print(cpu() - before, rows)
