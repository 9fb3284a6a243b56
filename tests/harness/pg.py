"""A private PostgreSQL (and PgBouncer) for tests, and a small libpq client.

    with Postgres() as pg:
        url = pg.createdb("one")
        with connect(url) as db:
            db.query("select $1::int + 1", "41")     # [("42",)]

Unix socket only, in a short folder (sun_path holds 107 bytes), so there
is no port to fight about. As root the server runs as user postgres or nobody,
because PostgreSQL refuses uid 0. The result of initdb is kept in build/pgcache.
"""
import ctypes
import ctypes.util
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIG = """
listen_addresses = ''
max_connections = 200
fsync = off
full_page_writes = off
shared_buffers = 64MB
max_wal_size = 4GB
log_min_messages = warning
timezone = 'UTC'
"""


def bindir():
    """Folder of initdb and postgres: $PG_BIN, Debian's newest, or PATH's."""
    if os.environ.get("PG_BIN"):
        return os.environ["PG_BIN"]
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if found:
        return os.path.dirname(max(found, key=lambda p: int(p.split("/")[4])))
    path = shutil.which("initdb")
    if not path:
        raise RuntimeError("no PostgreSQL server here: apt install postgresql")
    return os.path.dirname(os.path.realpath(path))


def account():
    """(uid, gid) the servers run as."""
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
        except KeyError:
            pass
    raise RuntimeError("no user to run PostgreSQL as")


def _die_with_parent():
    """A harness that is killed must not leave servers behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _spawn(argv, **kw):
    uid, gid = account()
    if os.getuid() == 0:
        kw.update(user=uid, group=gid, extra_groups=[])
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True,
                            preexec_fn=_die_with_parent, **kw)


def _private_dir():
    short = len(tempfile.gettempdir()) < 40 or not os.access("/tmp", os.W_OK)
    path = tempfile.mkdtemp(prefix="pugpg", dir=None if short else "/tmp")
    os.chown(path, *account())
    return path


def _copy(source, target):
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)
    if os.getuid() == 0:
        uid, gid = account()
        subprocess.run(["chown", "-R", f"{uid}:{gid}", target], check=True)


def _cluster(target):
    """A fresh cluster in `target`, from the cache when there is one."""
    version = subprocess.run([f"{bindir()}/postgres", "--version"], check=True,
                             capture_output=True, text=True).stdout
    name = "".join(c if c.isalnum() else "_" for c in version.strip())
    cache = os.path.join(ROOT, "build", "pgcache", name)
    if os.path.isdir(cache):
        return _copy(cache, target)
    argv = [f"{bindir()}/initdb", "-D", target, "-U", "pugd", "-A", "trust", "-E", "UTF8",
            "--locale=C.UTF-8", "--no-sync"]
    done = _spawn(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text = done.communicate(timeout=120)[0]
    if done.returncode:
        raise RuntimeError(f"initdb failed:\n{text}")
    with open(os.path.join(target, "postgresql.conf"), "a", encoding="utf-8") as f:
        f.write(CONFIG)
    try:
        os.makedirs(os.path.dirname(cache), exist_ok=True)
        part = f"{cache}.{os.getpid()}"
        subprocess.run(["cp", "-a", target, part], check=True)
        os.rename(part, cache)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)  # another process was first
    return None


class Postgres:
    def __init__(self, settings=None, start=True):
        self.dir = _private_dir()
        self.data = os.path.join(self.dir, "data")
        self.log = os.path.join(self.dir, "log")
        self.settings = {"unix_socket_directories": self.dir, **(settings or {})}
        self.proc = None
        self.names = 0
        try:
            _cluster(self.data)
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def url(self, db="postgres", **more):
        text = f"postgresql:///{db}?host={self.dir}&user=pugd&port={self.settings.get('port', 5432)}"
        return text + "".join(f"&{k}={v}" for k, v in more.items())

    def start(self, timeout=30):
        """Until it accepts connections. After kill9() the old shared memory may still
        be attached for a moment, so a refused start is tried again."""
        argv = [f"{bindir()}/postgres", "-D", self.data]
        for key, value in self.settings.items():
            argv += ["-c", f"{key}={value}"]
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.proc is None or self.proc.poll() is not None:
                with open(self.log, "ab") as log:
                    self.proc = _spawn(argv, stdout=log, stderr=log)
            if _ping(self.url()) == 0:
                return self
            time.sleep(0.02)
        raise RuntimeError("PostgreSQL did not start:\n" + self.log_text()[-2000:])

    def stop(self, sig=signal.SIGINT, timeout=30):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(sig)
            self.proc.wait(timeout)
        self.proc = None

    def kill9(self):
        """Postmaster and backends at once, as a power cut would."""
        if self.proc and self.proc.poll() is None:
            os.killpg(self.proc.pid, signal.SIGKILL)
            self.proc.wait(10)
        self.proc = None

    def restart(self):
        self.stop()
        return self.start()

    def pause(self, on=True):
        """Stops every backend where it stands: a server that is there but silent."""
        for pid in self._pids():
            try:
                os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)
            except ProcessLookupError:
                pass

    def _pids(self):
        """The session's processes; backends make sessions of their own (setsid)."""
        pids = [self.proc.pid]
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path, encoding="utf-8", errors="replace") as f:
                    if int(f.read().rpartition(")")[2].split()[1]) == self.proc.pid:
                        pids.append(int(path.split("/")[2]))
            except OSError:
                pass
        return pids

    def createdb(self, name=None):
        """A new database; returns its URL."""
        if not name:
            self.names += 1
            name = f"t{self.names}"
        with connect(self.url()) as db:
            db.query(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def log_text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def close(self):
        try:
            if self.proc and self.proc.poll() is None:
                self.pause(False)
                self.stop(signal.SIGQUIT, 10)
        except (subprocess.TimeoutExpired, OSError):
            self.kill9()
        shutil.rmtree(self.dir, ignore_errors=True)


class PgBouncer:
    """Debian's pgbouncer in transaction mode over one Postgres; every client
    database name is an alias of `db`."""

    def __init__(self, pg, db="postgres", pool_size=2, binary="/usr/sbin/pgbouncer"):
        self.dir = _private_dir()
        self.db = db
        ini = os.path.join(self.dir, "ini")
        with open(ini, "w", encoding="utf-8") as f:
            f.write(f"""[databases]
* = host={pg.dir} port=5432 dbname={db} user=pugd
[pgbouncer]
unix_socket_dir = {self.dir}
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
server_login_retry = 1
logfile = {self.dir}/log
""")
        os.chmod(ini, 0o644)
        self.proc = _spawn([binary, ini], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while _ping(self.url()) != 0:
            if time.monotonic() > end or self.proc.poll() is not None:
                self.close()
                raise RuntimeError("pgbouncer did not start")
            time.sleep(0.02)

    def url(self, alias="a"):
        """Each alias has a pool of its own, so lanes can be given one each."""
        return f"postgresql:///{alias}?host={self.dir}&port=6432&user=pugd"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(5)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


# ---- libpq through ctypes: no driver needs to be installed ----------------------

_pq = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")
for _name, _result, _args in (
        ("PQconnectdb", "p", "s"), ("PQstatus", "i", "p"), ("PQfinish", None, "p"),
        ("PQerrorMessage", "s", "p"), ("PQping", "i", "s"), ("PQexec", "p", "ps"),
        ("PQexecParams", "p", "psipppPi"), ("PQresultStatus", "i", "p"), ("PQclear", None, "p"),
        ("PQntuples", "i", "p"), ("PQnfields", "i", "p"), ("PQgetisnull", "i", "pii"),
        ("PQgetvalue", "s", "pii"), ("PQresultErrorField", "s", "pi"), ("PQcmdTuples", "s", "p"),
        ("PQprepare", "p", "pssip"), ("PQdescribePrepared", "p", "ps"), ("PQftype", "u", "pi"),
        ("PQftable", "u", "pi"), ("PQftablecol", "i", "pi"), ("PQnparams", "i", "p"),
        ("PQparamtype", "u", "pi"), ("PQfname", "s", "pi")):
    _f = getattr(_pq, _name)
    _c = {"p": ctypes.c_void_p, "P": ctypes.c_void_p, "s": ctypes.c_char_p, "i": ctypes.c_int,
          "u": ctypes.c_uint, None: None}
    _f.restype, _f.argtypes = _c[_result], [_c[a] for a in _args]


def _ping(url):
    return _pq.PQping(url.encode())


class DbError(Exception):
    def __init__(self, text, sqlstate=""):
        super().__init__(text.strip())
        self.sqlstate = sqlstate


class Connection:
    def __init__(self, url):
        self.pq = _pq
        self.conn = _pq.PQconnectdb(url.encode())
        if _pq.PQstatus(self.conn) != 0:
            text = _pq.PQerrorMessage(self.conn).decode()
            self.close()
            raise DbError(text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.conn:
            _pq.PQfinish(self.conn)
            self.conn = None

    def _check(self, res):
        if _pq.PQresultStatus(res) not in (0, 1, 2):
            state = (_pq.PQresultErrorField(res, ord("C")) or b"").decode()
            text = _pq.PQerrorMessage(self.conn).decode()
            _pq.PQclear(res)
            raise DbError(text, state)
        return res

    def query(self, sql, *params):
        """Rows as tuples of str or None. Without params `sql` may hold several statements."""
        if params:
            values = [None if p is None else str(p).encode() for p in params]
            array = (ctypes.c_char_p * len(values))(*values)
            res = _pq.PQexecParams(self.conn, sql.encode(), len(values), None, array, None, None, 0)
        else:
            res = _pq.PQexec(self.conn, sql.encode())
        self._check(res)
        rows = [tuple(None if _pq.PQgetisnull(res, i, j) else _pq.PQgetvalue(res, i, j).decode()
                      for j in range(_pq.PQnfields(res))) for i in range(_pq.PQntuples(res))]
        _pq.PQclear(res)
        return rows

    def one(self, sql, *params):
        """The only value of the only row."""
        ((value,),) = self.query(sql, *params)
        return value

    def describe(self, sql, oids):
        """(parameter OIDs, [(name, OID, table OID, column number)]) of a statement."""
        array = (ctypes.c_uint * max(len(oids), 1))(*oids)
        _pq.PQclear(self._check(_pq.PQprepare(self.conn, b"", sql.encode(), len(oids), array)))
        res = self._check(_pq.PQdescribePrepared(self.conn, b""))
        params = [_pq.PQparamtype(res, i) for i in range(_pq.PQnparams(res))]
        columns = [(_pq.PQfname(res, i).decode(), _pq.PQftype(res, i), _pq.PQftable(res, i),
                    _pq.PQftablecol(res, i)) for i in range(_pq.PQnfields(res))]
        _pq.PQclear(res)
        return params, columns


def connect(url):
    return Connection(url)
