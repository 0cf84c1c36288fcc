"""The queries of docs/journal.md, and what netmon itself says."""

import functools
import json
import re
import subprocess
from dataclasses import dataclass

# What the page says, where a journal that was recorded just now has something else.
MOMENT = "2026-11-23 03:12:07+00"
DATE = "2026-11-23"
DIRECTORY = "/var/log/netmon"
BUCKET = "https://s3.example.org/journals"

DATASETS = ["events", "connections", "checkpoints", "processes", "namespaces"]


@dataclass
class Block:
    title: str
    language: str
    code: str

    def run(self, **instead):
        """Runs a block of Python, each text in it replaced by another."""
        code = self.code
        for text, other in instead.items():
            assert globals()[text] in code, f"{self.title}: it has no {globals()[text]}"
            code = code.replace(globals()[text], other)
        print("##", self.title, flush=True)
        exec(code, {})


def blocks(page):
    """Every query, with the title above it."""
    title, found = "", []
    pattern = r"^#+ (?P<title>.*?)$|^```(?P<language>sql|python)\n(?P<code>.*?)^```"
    for match in re.finditer(pattern, open(page).read(), re.S | re.M):
        if match["title"]:
            title = match["title"]
        else:
            found.append(Block(title, match["language"], match["code"]))
    return found


def one(page, text):
    """The one query that has this text."""
    [block] = [block for block in blocks(page) if text in block.code]
    return block


class Netmon:
    """Asks netmon for the journal in the directory of now."""

    def __init__(self, program):
        self.program = program

    def text(self, *words, journal="."):
        command = [self.program, *words, "--journal", journal]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @functools.cache
    def json(self, *words):
        return [json.loads(line) for line in self.text(*words).splitlines()]

    def export(self, dataset):
        """The rows of a dataset, without those that an export adds for gaps."""
        rows = self.json("export", "--format", "jsonl", "--dataset", dataset)
        return [row for row in rows if dataset == "events" or "boot_id" in row]


def same(what, one, other):
    """Fails with what differs."""
    if one != other:
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        differ = [f"{key}: {one.get(key)} and {other.get(key)}" for key in keys[:20]]
        raise AssertionError(f"{what}: {len(keys)} differ: {differ}")
    print(f"the same: {what}", flush=True)
