#!/usr/bin/env python3
"""The Python peer: psycopg, httpx, a snapshot table, a diff of two dicts, a commit for each batch.

DATABASE_URL=… WAZZUP_URL=… WAZZUP_KEY=… sync.py [--cycles N]

With --cycles: so many cycles with connections kept; then prints the median of a cycle in milliseconds. Phones are read by
a rule of thumb, not by a library. What it does not do: isolate refusals, hand phones over, hold removals back, keep a
lease, survive a lost answer.
"""

import os
import re
import statistics
import sys
import time

import httpx
import psycopg

BATCH = 100
NOT_DIGITS = re.compile(r"\D")
SNAPSHOT = "id text PRIMARY KEY, name text NOT NULL, phone text"
UPSERT = """INSERT INTO python_peer.snapshot SELECT * FROM unnest(%s::text[], %s::text[], %s::text[])
            ON CONFLICT (id) DO UPDATE SET name = excluded.name, phone = excluded.phone"""


def phone(text):
    digits = NOT_DIGITS.sub("", text or "")
    if len(digits) == 11 and digits[0] == "8":
        digits = "7" + digits[1:]
    return digits or None


def batches(items):
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def user(id, name, phone):
    return {"id": id, "name": name, "phone": phone} if phone else {"id": id, "name": name}


def cycle(database, wazzup):
    rows = database.execute("SELECT id::text, name, phone FROM public.employees WHERE is_active").fetchall()
    wanted = {id: (name.strip(), phone(number)) for id, name, number in rows}
    rows = database.execute("SELECT id, name, phone FROM python_peer.snapshot").fetchall()
    known = {id: (name, number) for id, name, number in rows}
    database.commit()  # no transaction stays open while we talk to Wazzup

    for batch in batches(sorted(known.keys() - wanted.keys())):
        wazzup.request("PATCH", "/users/bulk_delete", json=batch).raise_for_status()
        database.execute("DELETE FROM python_peer.snapshot WHERE id = ANY(%s)", (batch,))
        database.commit()
    for batch in batches(sorted(id for id, values in wanted.items() if known.get(id) != values)):
        users = [(id, *wanted[id]) for id in batch]
        wazzup.post("/users", json=[user(*values) for values in users]).raise_for_status()
        database.execute(UPSERT, [list(column) for column in zip(*users)])
        database.commit()


def main():
    headers = {"Authorization": f"Bearer {os.environ['WAZZUP_KEY']}"}
    with (
        psycopg.connect(os.environ["DATABASE_URL"]) as database,
        httpx.Client(base_url=os.environ["WAZZUP_URL"], headers=headers, timeout=30) as wazzup,
    ):
        database.execute("SET client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS python_peer")
        database.execute(f"CREATE TABLE IF NOT EXISTS python_peer.snapshot ({SNAPSHOT})")
        database.commit()
        if "--cycles" not in sys.argv:
            return cycle(database, wazzup)
        cycle(database, wazzup)
        took = []
        for _ in range(int(sys.argv[2])):
            began = time.perf_counter()
            cycle(database, wazzup)
            took.append(time.perf_counter() - began)
        print(f"{statistics.median(took) * 1000:.1f}")


main()
