#!/usr/bin/env python3
"""`make install`: everything in its place, units that systemd finds nothing wrong with, man
pages without a warning, and a sample file that is what the program says."""
import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

import pug

FILES = {"{prefix}/sbin/pugd": 0o755, "{prefix}/lib/systemd/system/pugd.service": 0o644,
         "{prefix}/lib/systemd/system/pugd.socket": 0o644,
         "{prefix}/lib/sysusers.d/pugd.conf": 0o644,
         "{prefix}/lib/tmpfiles.d/pugd.conf": 0o644, "{prefix}/share/man/man8/pugd.8": 0o644,
         "{prefix}/share/man/man5/pugd.conf.5": 0o644, "etc/pugd/pugd.conf": 0o644}


def run(*command, **kw):
    """(exit code, everything printed)."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=600, cwd=pug.TOP, **kw)
    return done.returncode, done.stdout


@contextlib.contextmanager
def installed(*settings):
    top = tempfile.mkdtemp(prefix="pugin-")
    try:
        make(top, *settings)
        yield top
    finally:
        shutil.rmtree(top, ignore_errors=True)


def make(top, *settings):
    # Without the flags of a make that may have started us.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    code, text = run("make", "--no-print-directory", "install", "DESTDIR=" + top, *settings,
                     env=env)
    assert code == 0, text


def files(top):
    return {os.path.relpath(os.path.join(where, name), top)
            for where, _, names in os.walk(top) for name in names}


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def test_everything_in_place(_):
    for prefix, settings in (("usr", ()), ("usr/local", ("PREFIX=/usr/local",)),
                             ("opt/pug", ("PREFIX=/opt/pug",))):
        with installed(*settings) as top:
            want = {name.format(prefix=prefix): mode for name, mode in FILES.items()}
            assert files(top) == set(want), files(top) ^ set(want)
            for name, mode in want.items():
                got = stat.S_IMODE(os.stat(os.path.join(top, name)).st_mode)
                assert got == mode, (name, oct(got))
            binary = os.path.join(top, prefix, "sbin/pugd")
            version = read(pug.TOP, "VERSION").strip()
            code, text = run(binary, "--version")
            assert code == 0 and version in text, text
            # The unit starts what was installed.
            unit = read(top, prefix, "lib/systemd/system/pugd.service")
            starts = re.findall(r"^Exec(?:Start|Reload)=(/\S*pugd) ", unit, re.M)
            assert starts == [f"/{prefix}/sbin/pugd"] * 2, starts
            # A second install keeps what the administrator wrote.
            conf = os.path.join(top, "etc/pugd/pugd.conf")
            with open(conf, "a", encoding="utf-8") as f:
                f.write("workers = 7\n")
            make(top, *settings)
            assert read(conf).endswith("workers = 7\n")


def test_units(_):
    with installed() as top:
        units = os.path.join(top, "usr/lib/systemd/system")
        # verify wants the programs to be there.
        service = os.path.join(units, "pugd.service")
        text = read(service).replace("/usr/sbin/pugd", os.path.join(top, "usr/sbin/pugd"))
        with open(service, "w", encoding="utf-8") as f:
            f.write(text)
        for name in ("pugd.service", "pugd.socket"):
            code, text = run("systemd-analyze", "verify", "--man=no", os.path.join(units, name))
            assert code == 0 and text == "", text
        code, text = run("systemd-analyze", "security", "--offline=true", "--no-pager", service)
        level = re.search(r"Overall exposure level for pugd.service: ([\d.]+)", text)
        assert code == 0 and level and float(level.group(1)) <= 2.0, text[-300:]


def test_users_and_folders(_):
    with installed() as top:
        code, text = run("systemd-sysusers", "--root=" + top, "--dry-run",
                         os.path.join(top, "usr/lib/sysusers.d/pugd.conf"))
        assert code == 0 and "'pugd'" in text, text
        code, text = run("systemd-tmpfiles", "--root=" + top, "--create",
                         os.path.join(top, "usr/lib/tmpfiles.d/pugd.conf"))
        if os.getuid() == 0:
            keys = os.stat(os.path.join(top, "etc/pugd/credentials"))
            assert code == 0 and stat.S_IMODE(keys.st_mode) == 0o700 and keys.st_uid == 0, text
        assert "Unknown" not in text and "Invalid" not in text, text


def test_man_pages(_):
    with installed() as top:
        for page in ("man8/pugd.8", "man5/pugd.conf.5"):
            path = os.path.join(top, "usr/share/man", page)
            code, text = run("mandoc", "-T", "lint", path)
            assert code == 0 and text == "", text
            code, text = run("mandoc", "-T", "ascii", path)
            assert code == 0 and len(text) > 2000, text[:300]


def test_sample(variant):
    binary = os.path.join(pug.TOP, "build", variant, "pugd")
    code, sample = run(binary, "options", "--sample")
    assert code == 0 and sample == read(pug.TOP, "systemd/pugd.conf")
    keys = re.findall(r'^OPT_\w+\(\w+, "(\w+)"', read(pug.TOP, "shm/options.def"), re.M)
    assert len(keys) > 50
    page = read(pug.TOP, "systemd/pugd.conf.5")
    for key in keys:
        assert re.search(rf"^#?\s*{key}\s*=", sample, re.M), key
        assert key in page, key


def test_check(variant):
    """The installed sample is good but for the key that only the administrator has."""
    env = {k: v for k, v in os.environ.items() if k != "CREDENTIALS_DIRECTORY"}
    with installed() as top:
        binary = os.path.join(top, "usr/sbin/pugd")
        command = [binary, "check", "--config", os.path.join(top, "etc/pugd/pugd.conf")]
        code, text = run(*command, env=env)
        assert code == 1 and len(text.splitlines()) == 1 and "credential_file" in text, text
        key = os.path.join(top, "pugd.key")
        with open(key, "wb") as f:
            os.fchmod(f.fileno(), 0o400)
            f.write(os.urandom(64))
        code, text = run(*command, env={**env, "CREDENTIALS_DIRECTORY": top})
        assert code == 0 and text.startswith("pugd check: good\n"), text
        # Every line switched on, as it stands.
        conf = os.path.join(top, "all.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(re.sub(r"^#(?=\w+ ?=)", "", read(top, "etc/pugd/pugd.conf"), flags=re.M))
        assert "\nworkers = " in read(conf)
        code, text = run(binary, "check", "--config", conf, "-o", "credential_file=" + key, env=env)
        assert code == 0, text
        for bad, word in (("wrokers = 2", "wrokers"), ("workers = many", "workers"),
                          ("workers = 61", "workers"), ("head_timeout = 5", "head_timeout"),
                          ("db_prepare = perhaps", "db_prepare"), ("nonsense", "key = value")):
            with open(conf, "w", encoding="utf-8") as f:
                f.write("# a comment\n" + bad + "\n")
            code, text = run(binary, "check", "--config", conf, "-o", "credential_file=" + key,
                             env=env)
            assert code == 1 and word in text and "all.conf:2" in text, (bad, text)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    sys.exit(pug.main(tests))
