"""One cycle of wazzup-sync beside two scripts that do the same job, and the daemon. Prints Markdown.

    bench.py DIRECTORY [ROWS…]         the directory has wazzup-sync, sandbox and test-postgres

The runs are interleaved (ours, shell, Python, ours …), so that what else the machine does hits all of them; figures are
medians. After each scenario the stand-in for Wazzup must hold exactly what the CRM says: who is fast and wrong is not counted.
"""

import atexit
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from itertools import pairwise
from statistics import median

import httpx
import psycopg

HERE = pathlib.Path(__file__).parent
PROGRAMS = pathlib.Path(sys.argv[1])
SIZES = [int(rows) for rows in sys.argv[2:]] or [1_000, 100_000]
LATENCY_MS = 50
# The product waits so long after a NOTIFY for the rest of a burst.
DEBOUNCE_MS = 1_000
CYCLES = 50

# A process of its own starts what is measured: Linux counts what the parent holds as the child's peak, and this one is small.
MEASURE = """
import os, resource, sys, time
began = time.perf_counter()
status = os.waitpid(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ), 0)[1]
wall = time.perf_counter() - began
print(wall * 1000, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6)
sys.exit(status != 0)
"""

# One in twenty has no phone; the others are spelt in four ways, as people do.
EMPLOYEES = r"""
CREATE TABLE employees (id integer PRIMARY KEY, name text, phone text, is_active boolean NOT NULL DEFAULT true);
CREATE FUNCTION spelt(id integer) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN id % 20 > 0 THEN
        regexp_replace(to_char(9260000000 + id, 'FM0000000000'), '^(...)(...)(..)(..)$',
            (ARRAY['+7 (\1) \2-\3-\4', '8 \1 \2-\3-\4', '7\1\2\3\4', '+7-\1-\2-\3\4'])[1 + id % 4]) END $$;
"""
HIRE = "INSERT INTO employees SELECT id, 'Сотрудник Номер ' || id, spelt(id) FROM generate_series(%s::int, %s::int) id"


class Service:
    """The sandbox or the throw-away Postgres, until the end of this process."""

    def __init__(self, program, *arguments):
        self.process = subprocess.Popen([PROGRAMS / program, *arguments], stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        self.url = self.process.stdout.readline().split()[-1]

    def get(self, page):
        return httpx.get(self.url.replace("/v3", f"/_sandbox/{page}"), timeout=60).json()


class Crm:
    def __init__(self, postgres, rows):
        with psycopg.connect(postgres.url, autocommit=True) as server:
            server.execute(f"CREATE DATABASE bench_{rows}")
        self.rows, self.url = rows, postgres.url.replace("/postgres?", f"/bench_{rows}?")
        self.database = psycopg.connect(self.url, autocommit=True)
        self.database.execute(EMPLOYEES)
        self.database.execute(HIRE, (1, rows))
        self.database.execute("VACUUM ANALYZE")

    def churn(self, number):
        """One in a hundred changes, others in each round: eight of ten are renamed, one is hired, one leaves."""
        half, renamed, hired = self.rows // 2, self.rows // 125, max(self.rows // 1_000, 1)
        start, gone, new = 1 + number * renamed % half, 1 + half + number * hired, 1 + self.rows + number * hired
        rename = "UPDATE employees SET name = 'Сотрудник ' || id || ', ' || %s WHERE id BETWEEN %s AND %s"
        self.database.execute(rename, (number, start, start + renamed - 1))
        self.database.execute("DELETE FROM employees WHERE id BETWEEN %s AND %s", (gone, gone + hired - 1))
        self.database.execute(HIRE, (new, new + hired - 1))


class Peer:
    COMMANDS = {
        "ours": [PROGRAMS / "wazzup-sync", "--config", HERE / "wazzup-sync.toml"],
        "shell": ["bash", HERE / "sync.sh"],
        "python": [sys.executable, HERE / "sync.py"],
    }
    SCHEMAS = {"ours": "wazzup_sync", "shell": "shell_peer", "python": "python_peer"}

    def __init__(self, name, crm):
        self.name, self.crm, self.wazzup = name, crm, None
        self.forget_everything()

    def forget_everything(self, latency_ms=0):
        self.crm.database.execute("SET client_min_messages = warning")
        self.crm.database.execute(f"DROP SCHEMA IF EXISTS {self.SCHEMAS[self.name]} CASCADE")
        if self.wazzup:
            self.wazzup.process.kill()
        seats, latency = str(10 * self.crm.rows), str(latency_ms)
        self.wazzup = Service("sandbox", "--listen", "127.0.0.1:0", "--seats", seats, "--latency-ms", latency)

    def environment(self):
        url, base_url = self.crm.url, self.wazzup.url
        ours = {"CRM__URL": url, "STATE__URL": url, "WAZZUP__BASE_URL": base_url}
        theirs = {"DATABASE_URL": url, "WAZZUP_URL": base_url, "WAZZUP_KEY": "sandbox-key"}
        return os.environ | theirs | {f"WAZZUP_SYNC__{key}": value for key, value in ours.items()}

    def run(self):
        """One cycle: its milliseconds, and the megabytes of the biggest of its processes."""
        command = [*self.COMMANDS[self.name], *(["once"] if self.name == "ours" else [])]
        measure = [sys.executable, "-ISc", MEASURE, *command]
        output = subprocess.run(measure, env=self.environment(), stdout=subprocess.PIPE, check=True).stdout
        return [float(figure) for figure in output.splitlines()[-1].split()]


def compare(crm):
    """Prints a line of the table for each scenario."""
    peers = [Peer(name, crm) for name in Peer.COMMANDS]
    for scenario in ["first sync", "no change", "1 % churn"]:
        rounds = int(os.environ.get("ROUNDS", 5 if crm.rows > 10_000 else 15))
        print(f"{crm.rows} rows, {scenario}: {rounds} runs of each", file=sys.stderr)
        figures = [[], [], []]
        for number in range(rounds + 1):
            if scenario == "1 % churn":
                crm.churn(number)
            before = [len(peer.wazzup.get("requests")) if number == rounds else 0 for peer in peers]
            for turn in range(3):
                index = (turn + number) % 3
                if scenario == "first sync":
                    peers[index].forget_everything()
                    before[index] = 0
                figures[index].append(peers[index].run())
        wanted = {str(id): name for id, name in crm.database.execute("SELECT id, name FROM employees WHERE is_active")}
        for peer in peers:
            names = {id: user["name"] for id, user in peer.wazzup.get("users").items()}
            assert names == wanted, f"{peer.name} did not bring Wazzup to what the CRM says"
        crm.database.execute("VACUUM ANALYZE")
        # The first run warms the caches up and does not count.
        walls = [median(wall for wall, _ in runs[1:]) for runs in figures]
        memory = [median(peak for _, peak in runs[1:]) for runs in figures]
        requests = [len(peer.wazzup.get("requests")) - count for peer, count in zip(peers, before)]
        ratios = f"{walls[0] / walls[1]:.2f} | {walls[0] / walls[2]:.2f}"
        cells = [f"{crm.rows:,}", scenario, f"{walls[0]:.1f}", ratios, *requests, *(f"{peak:.0f}" for peak in memory)]
        print("|", " | ".join(map(str, cells)), "|", flush=True)


class Daemon:
    def __init__(self, ours, every):
        environment = ours.environment() | {"WAZZUP_SYNC__SCHEDULE__EVERY": every, "WAZZUP_SYNC__LOG__LEVEL": "debug"}
        command = [*Peer.COMMANDS["ours"], "run"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)

    def wait_for(self, event):
        for line in self.process.stderr:
            record = json.loads(line)
            assert record["level"] != "ERROR", line
            if record.get("event") == event:
                return time.perf_counter()
        raise SystemExit("the daemon ended")

    def memory(self, key):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{key}:")[1].split()[0]) * 1024 / 1e6

    def stop(self):
        self.process.terminate()
        self.process.communicate()


def daemon_figures(crm):
    """Prints a line of the table of the daemon."""
    print(f"{crm.rows} rows, the daemon", file=sys.stderr)
    ours, python = Peer("ours", crm), Peer("python", crm)
    daemon = Daemon(ours, "1h")
    daemon.wait_for("cycle.finished")
    time.sleep(3)  # The listener may have another cycle made once it is connected.
    delays = []
    for number in range(7):
        seen = len(ours.wazzup.get("requests"))
        with crm.database.transaction():
            crm.database.execute("UPDATE employees SET name = 'Переименован ' || %s WHERE id = 1", (number,))
            crm.database.execute("NOTIFY changed")
        committed_ms = time.time() * 1000
        daemon.wait_for("batch.delivered")
        delays.append(ours.wazzup.get("requests")[seen]["at"] - committed_ms - DEBOUNCE_MS)
    resident, peak = daemon.memory("VmRSS"), daemon.memory("VmHWM")
    daemon.stop()

    daemon = Daemon(ours, "1ms")  # Over before a cycle ends, so each follows the one before at once.
    ended = [daemon.wait_for("cycle.finished") for _ in range(CYCLES + 2)]
    # The first one reads Wazzup's list.
    cycles = [(later - earlier) * 1000 for earlier, later in pairwise(ended[1:])]
    daemon.stop()
    looping = [*Peer.COMMANDS["python"], "--cycles", str(CYCLES)]
    python_cycle = subprocess.check_output(looping, env=python.environment(), text=True).strip()
    figures = [median(cycles), python_cycle, median(delays), resident, peak]
    cells = [f"{float(figure):.1f}" for figure in figures]
    print(f"| {crm.rows:,} |", " | ".join(cells), "|", flush=True)


def first_sync_at_a_distance(crm):
    ours, walls = Peer("ours", crm), []
    for _ in range(5):
        ours.forget_everything(LATENCY_MS)
        walls.append(ours.run()[0])
    requests = len(ours.wazzup.get("requests"))
    ratio = median(walls) / (requests * LATENCY_MS)
    print(f"\nFirst sync of {crm.rows:,} with {LATENCY_MS} ms for each of its {requests} requests: {median(walls):.0f} ms,")
    print(f"{ratio:.2f} × the requests' own time.")


def main():
    # What was started ends with this process, also when it is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    postgres = Service("test-postgres")
    crms = [Crm(postgres, rows) for rows in SIZES]
    print("| rows | cycle | ms | to shell | to Python | requests | shell's | Python's | max RSS, MB | shell's | Python's |")
    print("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for crm in crms:
        compare(crm)
    print("\n| daemon, rows | quiet cycle, ms | Python's, ms | NOTIFY to request, ms | resident, MB | its peak, MB |")
    print("|--:|--:|--:|--:|--:|--:|")
    for crm in crms:
        daemon_figures(crm)
    first_sync_at_a_distance(crms[0])


main()
