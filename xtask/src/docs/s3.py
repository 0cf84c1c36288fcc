"""Runs the page's query of an S3 bucket on a local server (moto), and checks the files it reads."""

import glob
import os
import re
import subprocess
import sys
import tempfile
import time

import boto3

from page import BUCKET, DATE

NAME = "journals"
# Days that get copies of the recording, besides its own day.
OTHER_DAYS = ["2026-11-21", "2026-11-22"]
PATIENCE = 60


def compare(block):
    os.environ.update(AWS_ACCESS_KEY_ID="anything", AWS_SECRET_ACCESS_KEY="nothing",
                      AWS_REGION="us-east-1",
                      NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    with tempfile.NamedTemporaryFile("w+") as log:
        server, port = serve(log)
        try:
            days = fill(port)
            bucket = f"http://127.0.0.1:{port}/{NAME}"
            one = requests(log, lambda: block.run(BUCKET=bucket, DATE=days[0]))
            every = block.code.replace(f"WHERE date = '{DATE}'", "")
            block.code = every
            more = requests(log, lambda: block.run(BUCKET=bucket))
        finally:
            server.terminate()
            server.wait()
    for name, found in [("one day", one), ("every day", more)]:
        of_days = {day(path) for path in found}
        print(f"S3, {name}: {len(found)} requests, {len(set(found))} files of {len(of_days)} days")
    # The query reads the columns from the first file that it finds.
    others = {path for path in one if day(path) != days[0]}
    assert len(others) <= 1 and len(set(one)) > 1, others
    assert {day(path) for path in more} == set(days)


def day(path):
    return re.search(r"/date=([0-9-]+)/", path)[1]


def serve(log):
    """Starts the server. Returns its process and its port."""
    command = [sys.executable, "-m", "moto.server", "--port", "0"]
    server = subprocess.Popen(command, stdout=log, stderr=log)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        if match := re.search(r"Running on http://127.0.0.1:(\d+)", open(log.name).read()):
            return server, int(match[1])
        time.sleep(0.1)
    server.kill()
    raise AssertionError(f"the S3 server did not start: {open(log.name).read()}")


def fill(port):
    """Puts the connections into a bucket, and copies of them under other days. Returns the days."""
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    client.create_bucket(Bucket=NAME)
    days = set()
    for path in glob.glob("connections/date=*/host=*/*.parquet"):
        days.add(day(path))
        for other in [day(path), *OTHER_DAYS]:
            client.upload_file(path, NAME, path.replace(day(path), other))
    return [*sorted(days), *OTHER_DAYS]


def requests(log, work):
    """Returns the files that `work` requests, one for each request."""
    before = os.path.getsize(log.name)
    work()
    with open(log.name) as lines:
        lines.seek(before)
        found = (re.search(r"(?:GET|HEAD) /(\S+\.parquet) ", line) for line in lines)
        return [match[1] for match in found if match]
