#!/usr/bin/env python3
"""The Python peer: psycopg, httpx, a snapshot table and a diff of two dicts.

    DATABASE_URL=… WAZZUP_URL=… WAZZUP_KEY=… sync.py          one cycle
    … sync.py --loop SECONDS                                  cycles without a pause, connections kept; then prints the
                                                              median of a cycle in milliseconds

As a competent operator writes it: columns as tuples, one connection to each side, COPY for what is recorded, which is
recorded once at the end. Phones are read by a rule of thumb, not by a library. What it does not do: isolate refusals, hand
phones over, put a brake on removals, keep a lease, survive a lost answer.
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


def phone(text):
    digits = NOT_DIGITS.sub("", text or "")
    if len(digits) == 11 and digits[0] == "8":
        digits = "7" + digits[1:]
    return digits or None


def batches(items):
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def user(id, name, phone):
    return {"id": id, "name": name, "phone": phone} if phone else {"id": id, "name": name}


def prepare(database):
    database.execute("SET client_min_messages = warning")
    database.execute("CREATE SCHEMA IF NOT EXISTS python_peer")
    database.execute(
        "CREATE TABLE IF NOT EXISTS python_peer.snapshot (id text PRIMARY KEY, name text NOT NULL, phone text)"
    )
    database.commit()


def cycle(database, wazzup):
    rows = database.execute("SELECT id::text, name, phone FROM public.employees WHERE is_active").fetchall()
    wanted = {id: (name.strip(), phone(number)) for id, name, number in rows}
    rows = database.execute("SELECT id, name, phone FROM python_peer.snapshot").fetchall()
    known = {id: (name, number) for id, name, number in rows}
    database.commit()  # no transaction stays open while we talk to Wazzup

    changed = sorted(id for id, values in wanted.items() if known.get(id) != values)
    gone = sorted(known.keys() - wanted.keys())
    if not changed and not gone:
        return
    for batch in batches(gone):
        wazzup.request("PATCH", "/users/bulk_delete", json=batch).raise_for_status()
    for batch in batches(changed):
        wazzup.post("/users", json=[user(id, *wanted[id]) for id in batch]).raise_for_status()

    with database.transaction():
        database.execute("CREATE TEMP TABLE sent (id text, name text, phone text) ON COMMIT DROP")
        with database.cursor().copy("COPY sent FROM STDIN") as copy:
            for id in changed:
                copy.write_row((id, *wanted[id]))
        database.execute(
            "INSERT INTO python_peer.snapshot SELECT * FROM sent"
            " ON CONFLICT (id) DO UPDATE SET name = excluded.name, phone = excluded.phone"
        )
        database.execute("DELETE FROM python_peer.snapshot WHERE id = ANY(%s)", (gone,))


def main():
    headers = {"Authorization": f"Bearer {os.environ['WAZZUP_KEY']}"}
    with (
        psycopg.connect(os.environ["DATABASE_URL"]) as database,
        httpx.Client(base_url=os.environ["WAZZUP_URL"], headers=headers, timeout=30) as wazzup,
    ):
        prepare(database)
        if sys.argv[1:2] != ["--loop"]:
            cycle(database, wazzup)
            return
        took, end = [], time.monotonic() + float(sys.argv[2])
        while time.monotonic() < end:
            began = time.perf_counter()
            cycle(database, wazzup)
            took.append(time.perf_counter() - began)
        print(f"{statistics.median(took) * 1000:.3f}")


main()
