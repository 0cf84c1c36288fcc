"""Runs a page's queries in a journal's directory, and compares: `check.py PAGE NETMON`."""

import collections
import json
import struct
import sys
import zlib
from glob import glob
from hashlib import sha256

import chdb
import duckdb
import pandas
import polars

import moments
import s3
from page import BUCKET, DATASETS, MOMENT, Netmon, blocks, one, same

Counter = collections.Counter


def main():
    page, program = sys.argv[1:]
    netmon = Netmon(program)
    duckdb.execute("SET timezone = 'UTC'")
    answers = run(page)
    compare_answers(netmon, answers)
    read_alike(netmon)
    sums()
    moments.compare(netmon, one(page, MOMENT_QUERY).code)
    s3.compare(one(page, BUCKET))
    print("docs: every query runs, and the answers are netmon's")


# The address of the scene.
ADDRESS = "127.7.7.7"
# A text that only the query for the table at a moment has.
MOMENT_QUERY = "last_of_each"


def sql(query):
    return duckdb.sql(query).fetchall()


def run(page):
    """Runs every query. Returns the rows of the queries in SQL, by title."""
    answers = {}
    found = blocks(page)
    assert len(found) >= 15, f"only {len(found)} queries were found"
    [(middle,)] = sql(
        "SELECT min(time) + (max(time) - min(time)) / 2 FROM 'connections/*/*/*.parquet'")
    for block in found:
        if BUCKET in block.code or "pyspark" in block.code:
            continue
        if block.language == "python":
            block.run()
            continue
        print("##", block.title)
        relation = duckdb.sql(block.code.replace(MOMENT, str(middle)))
        print(relation, flush=True)
        answers[block.title] = [dict(zip(relation.columns, row)) for row in relation.fetchall()]
        assert answers[block.title], f"{block.title}: no row"
    return answers


def count(rows, *names):
    """Counts rows by their values of these columns."""
    return dict(Counter(tuple(row.get(name) for name in names) for row in rows))


def compare_answers(netmon, answers):
    """Compares the answers with the output of netmon."""
    events = netmon.export("events")
    history = netmon.json("history", "--json")
    ended = [row for row in history if row["type"] == "closed"]
    watched = netmon.json("watch", "--json")

    title = "How many transitions there were into each state"
    read = {(row["host"], row["new_state"]): row["transitions"] for row in answers[title]}
    for source, rows in [("export", events), ("watch", watched)]:
        transitions = [row for row in rows if row["type"] == "transition"]
        same(f"{title}, and {source}", read, count(transitions, "host", "new_state"))

    title = "Connections opened each second"
    read = Counter()
    for row in answers[title]:
        read[row["host"], row["direction"]] += row["opened"]
    opened = [row for row in events if row.get("opens") and row.get("direction") != "listen"]
    same(f"{title}, and export", dict(read), count(opened, "host", "direction"))

    title = "Failed connections and their destinations"
    words = ["refused", "timed-out", "unreachable", "reset-by-peer"]
    names = ["host", "verdict", "errno", "comm", "remote_addr", "remote_port"]
    failed = [row for row in ended
              if row.get("verdict") in words and row.get("direction") == "outbound"]
    failed = count(failed, *names)
    read = {tuple(row[name] for name in names): row["times"] for row in answers[title]}
    same(f"{title}, and history", read, {key: failed.get(key) for key in read})
    assert any(row["verdict"] == "refused" for row in answers[title])

    title = "Who talked most"
    names = ["host", "comm", "remote_addr"]
    most = answers[title][0]
    talked = [row for row in ended if all(row.get(name) == most[name] for name in names)]
    sent = sum(row.get("bytes_sent", 0) + row.get("bytes_received", 0) for row in talked)
    same(f"{title}, and history", most, {**most, "connections": len(talked), "bytes": sent})

    for title, name, least in [("Processes that tried many ports of one address", "ports", 120),
                               ("Processes that connect at regular intervals", "times", 12)]:
        hosts = {row["host"] for row in answers[title]
                 if row["remote_addr"] == ADDRESS and row[name] >= least}
        assert hosts == {"web1", "web2"}, f"{title}: {answers[title]}"

    title = "When nothing, or not everything, was recorded"
    gaps = count(answers[title], "host", "reason")
    assert ("web1", "not_recorded") in gaps, gaps
    lost = [row for row in history if row["type"] == "lost"]
    same(f"{title}, and history", gaps, count(lost, "host", "reason"))

    keys(netmon, events, answers["Events by network namespace"])
    units(netmon)
    print(f"{len(events)} events, {sum('late' in row for row in events)} late ones")
    checked = netmon.text("journal", "check")
    assert "whole" in checked, checked


def units(netmon):
    """Checks that a connection has the unit of its process, which is gone."""
    found = sql("SELECT DISTINCT unit, exe, args FROM 'connections/*/*/*.parquet' "
                "WHERE unit LIKE 'netmon-docs%'")
    assert len(found) == 1, found
    [(unit, exe, args)] = found
    assert unit == "netmon-docs.service" and exe.endswith("/bash") and "/dev/tcp/" in args, args
    rows = netmon.text("history", "--wide-owner", "unit = netmon-docs.service")
    assert f" unit:{unit} " in rows and f" exe:{exe} " in rows, rows


def keys(netmon, events, namespaces):
    """Checks that the documented keys join rows of the datasets."""
    key = "SELECT host, boot_id, cookie, opened FROM 'connections/*/*/*.parquet'"
    twice = sql(f"{key} GROUP BY ALL HAVING count(*) > 1")
    assert not twice, f"{len(twice)} connections share their key: {twice[:5]}"
    same("events by namespace, and export", {"rows": sum(row["events"] for row in namespaces)},
         {"rows": sum("netns" in row for row in events)})
    names = {row["netns_name"] for row in namespaces}
    assert any(name and name.startswith("netmon-docs") for name in names), names
    for dataset, about, by in [
        ("connections", "processes", ["host", "boot_id", "pid", "comm", "uid", "cgroup_id"]),
        ("events", "namespaces", ["host", "boot_id", "netns"]),
    ]:
        met = "coalesce(process_started, time)" if about == "processes" else "time"
        missing = sql(
            f"SELECT {', '.join(by)}, min(time) FROM '{dataset}/*/*/*.parquet' AS row "
            f"WHERE {by[2]} IS NOT NULL AND NOT EXISTS ("
            f"FROM '{about}/*/*/*.parquet' AS about WHERE "
            + " AND ".join(f"about.{name} = row.{name}" for name in by) + ") GROUP BY ALL")
        assert not missing, f"{len(missing)} of {dataset} find none of {about}: {missing[:5]}"
        [(late, all_rows)] = sql(
            "SELECT count(*) FILTER (about.host IS NULL), count(*) "
            f"FROM '{dataset}/*/*/*.parquet' AS row "
            f"ASOF LEFT JOIN (SELECT *, {met} AS since FROM '{about}/*/*/*.parquet') AS about ON "
            + " AND ".join(f"about.{name} = row.{name}" for name in by)
            + f" AND row.time >= about.since WHERE row.{by[2]} IS NOT NULL")
        print(f"{all_rows} rows of {dataset} find their row of {about}; "
              f"{late} are older than that row")


def read_alike(netmon):
    """Checks that every program reads each dataset as a whole, with host and day from the path."""
    for dataset in DATASETS:
        expected = {host: rows for (host,), rows in count(netmon.export(dataset), "host").items()}
        files = f"{dataset}/date=*/host=*/*.parquet"
        pandas_read = pandas.read_parquet(dataset)
        polars_read = polars.read_parquet(dataset)
        for columns in pandas_read.columns, polars_read.columns:
            assert {"host", "date"} <= set(columns), f"{dataset}: {columns}"
        read = {
            "DuckDB": dict(sql(f"SELECT host, count(*) FROM '{files}' GROUP BY ALL")),
            "pandas": pandas_read.groupby("host", observed=True).size().to_dict(),
            "Polars": dict(polars_read.group_by("host").len().iter_rows()),
            "chDB": clickhouse(f"SELECT host, count() FROM file('{files}', Parquet) GROUP BY host"),
        }
        for program, counts in read.items():
            same(f"{dataset}: netmon export and {program}", expected, counts)
    verdicts(netmon)


def verdicts(netmon):
    """Checks that verdicts and times are the same in every program."""
    ended = [row for row in netmon.json("history", "--json")
             if row["type"] == "closed" and "verdict" in row]
    expected = count(ended, "host", "verdict")
    files = "connections/date=*/host=*/*.parquet"
    known = "verdict IS NOT NULL GROUP BY ALL"
    connections = pandas.read_parquet("connections").dropna(subset="verdict")
    scanned = polars.scan_parquet("connections").filter(polars.col("verdict").is_not_null())
    by_verdict = scanned.group_by("host", "verdict").len().collect()
    answer = clickhouse(
        "SELECT concat(host, ' ', assumeNotNull(verdict)), count() "
        f"FROM file('{files}', Parquet) WHERE {known}")
    read = {
        "DuckDB": {row[:2]: row[2] for row in sql(
            f"SELECT host, verdict, count(*) FROM '{files}' WHERE {known}")},
        "pandas": connections.groupby(["host", "verdict"], observed=True).size().to_dict(),
        "Polars": {row[:2]: row[2] for row in by_verdict.iter_rows()},
        "chDB": {tuple(key.split(" ")): rows for key, rows in answer.items()},
    }
    for program, counts in read.items():
        same(f"verdicts: netmon history and {program}", expected, counts)
    kinds = {
        "DuckDB": str(duckdb.sql(f"SELECT time FROM '{files}'").types[0]),
        "pandas": str(connections.time.dtype),
        "Polars": str(scanned.collect_schema()["time"]),
    }
    for program, kind in kinds.items():
        print(f"time is {kind} to {program}")
        assert "UTC" in kind or "TIME ZONE" in kind, kind


def clickhouse(query):
    rows = chdb.query(query, "JSONCompactEachRow").data().splitlines()
    return {key: int(count) for key, count in map(json.loads, rows)}


def sums():
    """Checks the checksums of every file, as the page describes them."""
    compared, footers, named = 0, set(), set()
    for path in sorted(glob("*/date=*/host=*/*.parquet")):
        data = open(path, "rb").read()
        length = struct.unpack("<I", data[-8:-4])[0]
        footer = data[-8 - length:-8]
        keys = {bytes(key).decode(): bytes(value).decode() for key, value in
                sql(f"SELECT key, value FROM parquet_kv_metadata('{path}')")}
        assert keys["netmon.version"] == "2" and f"host={keys['netmon.host']}" in path, keys
        total = keys["netmon.footer_sum"]
        assert sha256(footer.replace(total.encode(), b"0" * 64)).hexdigest() == total, path
        chunks = sql(
            "SELECT row_group_id, coalesce(dictionary_page_offset, data_page_offset), "
            "total_compressed_size, "
            f"bloom_filter_offset, bloom_filter_length FROM parquet_metadata('{path}') "
            "WHERE row_group_id IS NOT NULL ORDER BY row_group_id, column_id")
        found = []
        for group in sorted({chunk[0] for chunk in chunks}):
            of_group = [chunk[1:] for chunk in chunks if chunk[0] == group]
            found += [data[start:start + size] for start, size, _, _ in of_group]
            found += [data[start:start + size] for _, _, start, size in of_group if start]
        recorded = keys["netmon.checksums"]
        assert recorded == "".join(f"{zlib.crc32(part):08x}" for part in found), path
        compared += len(found)
        if path.startswith("events"):
            footers.add(total)
            named.update(keys["netmon.previous"].split(" ")[1:])
    named.discard("")
    assert named and named <= footers, "a segment names another than the one before"
    print(f"{compared} checksums are as the page describes, "
          f"and {len(named)} segments name the one before")


main()
