"""Moves money between accounts of one sqlite database by several processes, some of which are killed, and checks that none is lost.

python sqlite.py DATABASE JOURNAL_MODE PROCESSES TRANSFERS
"""
import os, random, signal, sqlite3, subprocess, sys, time

ACCOUNTS, EACH = 50, 1000


def connect(path, mode):
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    got = db.execute(f"pragma journal_mode={mode}").fetchone()[0]
    assert got == mode, f"journal_mode {mode} gave {got}"
    db.execute("pragma synchronous=full")
    return db


def check(db):
    assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
    total, n = db.execute("select sum(money), count(*) from account").fetchone()
    assert (total, n) == (ACCOUNTS * EACH, ACCOUNTS), f"money is {total} in {n} accounts"


def worker(path, mode, count, seed):
    """Transfers, each a transaction that is also logged; prints a line after each commit that returned."""
    db, rnd = connect(path, mode), random.Random(seed)
    for i in range(count):
        a, b, money = rnd.randrange(ACCOUNTS), rnd.randrange(ACCOUNTS), rnd.randrange(100)
        db.execute("begin immediate")
        db.execute("update account set money = money - ? where id = ?", (money, a))
        db.execute("update account set money = money + ? where id = ?", (money, b))
        db.execute("insert into log values (?, ?, ?)", (seed, i, rnd.randbytes(rnd.randrange(3000))))
        if rnd.random() < 0.1:
            db.execute("rollback")
        else:
            db.execute("commit")
            print(seed, i, flush=True)
        if i % 10 == 0:
            total = db.execute("select sum(money) from account").fetchone()[0]
            assert total == ACCOUNTS * EACH, f"a reader saw {total}"


def main(path, mode, processes, transfers):
    db = connect(path, mode)
    db.execute("create table account (id integer primary key, money integer)")
    db.execute("create table log (seed integer, i integer, b blob)")
    db.executemany("insert into account values (?, ?)", [(i, EACH) for i in range(ACCOUNTS)])
    db.close()
    acked = set()
    for round in range(3):
        ps = [subprocess.Popen([sys.executable, __file__, path, mode, "worker", str(transfers), str(100 * round + k)], stdout=subprocess.PIPE, text=True)
              for k in range(processes)]
        if round < 2:  # kill one in the middle of its work
            for _ in range(transfers // 3):
                acked.add(tuple(map(int, ps[0].stdout.readline().split())))
            ps[0].send_signal(signal.SIGKILL)
        for k, p in enumerate(ps):
            out = p.communicate()[0]
            lines = out.splitlines() if out.endswith("\n") or not out else out.splitlines()[:-1]
            acked.update(tuple(map(int, line.split())) for line in lines if len(line.split()) == 2)
            assert p.returncode == 0 or k == 0 and round < 2, f"worker {k} of round {round}: exit {p.returncode}"
        db = connect(path, mode)
        check(db)
        have = set(db.execute("select seed, i from log"))
        assert acked <= have, f"acknowledged and lost: {sorted(acked - have)[:5]}"
        db.close()
    assert acked
    print(f"{mode}: {len(acked)} acknowledged transactions by {processes} processes, none lost")


if sys.argv[3] == "worker":
    worker(sys.argv[1], sys.argv[2], int(sys.argv[4]), int(sys.argv[5]))
else:
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
