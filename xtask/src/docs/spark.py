"""Spark with its own settings, on several worker processes: `spark.py PAGE NETMON JOURNAL`.

Spark leaves a directory `work` behind: run the script in a directory that may be removed.
"""

import collections
import os
import sys

from page import DATASETS, DIRECTORY, Netmon, one, same

page, program, journal = sys.argv[1:]
# A master, as there is no cluster, and an address, as the host's own name may have none.
os.environ["PYSPARK_SUBMIT_ARGS"] = "--master local-cluster[2,1,1024] pyspark-shell"
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"

one(page, "pyspark").run(DIRECTORY=journal)

from pyspark.sql import SparkSession  # noqa: E402

spark = SparkSession.builder.getOrCreate()
print("Spark", spark.version, "on", spark.sparkContext.master)
os.chdir(journal)
netmon = Netmon(program)
connections = spark.read.parquet(f"{journal}/connections")
kind = dict(connections.dtypes)["time"]
print("time is", kind, "and the columns of the path are", connections.columns[-2:])
assert kind == "timestamp", kind
ended = (row for row in netmon.json("history", "--json") if row["type"] == "closed")
expected = collections.Counter((row["host"], row.get("verdict")) for row in ended)
read = {(row["host"], row["verdict"]): row["count"]
        for row in connections.groupBy("host", "verdict").count().collect()}
same("verdicts: netmon history and Spark", dict(expected), read)
for dataset in DATASETS:
    expected = collections.Counter(row["host"] for row in netmon.export(dataset))
    read = spark.read.parquet(f"{journal}/{dataset}").groupBy("host").count().collect()
    read = {row["host"]: row["count"] for row in read}
    same(f"{dataset}: netmon export and Spark", dict(expected), read)
# Reads every value of every column, which a count does not.
for dataset in DATASETS:
    table = spark.read.parquet(f"{journal}/{dataset}")
    table.write.format("noop").mode("overwrite").save()
    print(f"{dataset}: Spark read {len(table.columns)} columns")
spark.stop()
