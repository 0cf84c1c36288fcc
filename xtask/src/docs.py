"""Runs every query of a page in the directory of a journal: `docs.py PAGE NETMON`."""

import collections
import json
import re
import subprocess
import sys

import duckdb

page, netmon = sys.argv[1:]
blocks = re.findall(r"^```(sql|python)\n(.*?)^```", open(page).read(), re.S | re.M)
assert len(blocks) >= 10, f"only {len(blocks)} queries were found"
for language, block in blocks:
    print("--", block.strip().splitlines()[0])
    if language == "sql":
        print(duckdb.sql(block))
    else:
        exec(block, {})

# What netmon says, and what DuckDB reads, are the same.
events = "host=*/date=*/hour=*/events-*.parquet"
states = "SELECT new_state, count(*) FROM '%s' WHERE type = 'transition' GROUP BY ALL" % events
read = dict(duckdb.sql(states).fetchall())
said = collections.Counter()
export = [netmon, "export", "--format", "jsonl", "--journal", "."]
for line in subprocess.run(export, check=True, capture_output=True, text=True).stdout.splitlines():
    row = json.loads(line)
    if row["type"] == "transition":
        said[row["new_state"]] += 1
replayed = collections.Counter()
watch = [netmon, "watch", "--json", "--journal", "."]
for line in subprocess.run(watch, check=True, capture_output=True, text=True).stdout.splitlines():
    row = json.loads(line)
    if row["type"] == "transition":
        replayed[row["new_state"]] += 1
print(read)
assert read == dict(said), f"DuckDB: {read}, netmon export: {dict(said)}"
assert read == dict(replayed), f"DuckDB: {read}, netmon watch: {dict(replayed)}"
refused = duckdb.sql(
    "SELECT count(*) FROM 'host=*/date=*/hour=*/connections-*.parquet' WHERE verdict = 'refused'"
)
assert refused.fetchall()[0][0] >= 1
print("docs: every query runs, and the counts are the same")
