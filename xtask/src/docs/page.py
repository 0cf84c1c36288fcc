"""The queries of docs/journal.md, and the output of netmon itself."""

import functools
import json
import re
import subprocess
from dataclasses import dataclass

# Texts of the page that differ in a journal that was recorded just now.
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
        """Runs a block of Python, with texts of the page replaced by others."""
        code = self.code
        for text, other in instead.items():
            assert globals()[text] in code, f"{self.title}: it has no {globals()[text]}"
            code = code.replace(globals()[text], other)
        print("##", self.title, flush=True)
        exec(code, {})


def blocks(page):
    """Returns every query, with the title above it."""
    title, found = "", []
    pattern = r"^#+ (?P<title>.*?)$|^```(?P<language>sql|python)\n(?P<code>.*?)^```"
    for match in re.finditer(pattern, open(page).read(), re.S | re.M):
        if match["title"]:
            title = match["title"]
        else:
            found.append(Block(title, match["language"], match["code"]))
    return found


def one(page, text):
    """Returns the one query that has this text."""
    [block] = [block for block in blocks(page) if text in block.code]
    return block


class Netmon:
    """Runs netmon on the journal in the current directory."""

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
        """Returns the rows of a dataset, without the rows that an export adds for gaps."""
        rows = self.json("export", "--format", "jsonl", "--dataset", dataset)
        return [row for row in rows if dataset == "events" or "boot_id" in row]


def same(what, one, other):
    """Fails with the differences of two dictionaries."""
    if one != other:
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        differ = [f"{key}: {one.get(key)} and {other.get(key)}" for key in keys[:20]]
        raise AssertionError(f"{what}: {len(keys)} differ: {differ}")
    print(f"the same: {what}", flush=True)
