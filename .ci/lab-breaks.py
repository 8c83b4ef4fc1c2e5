#!/usr/bin/env python3
"""Breaks guests and SSH of the running lab under a running matrix.

Each break must spoil one trial with a stage and a cause, what broke must be made again, and a later trial
must complete. In the end nothing of ours runs in any domain or on this machine, and the devices are with
Domain-0. Bounded: whatever hangs ends this script with an error. The lab must be up.

    .ci/lab-breaks.py [WORD]    only the breaks whose description has WORD
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CELLS = "disk/*/cpu@dom0+a"  # Domain-0 and A loaded, B measured, on a virtual disk and on one passed through.
TRIAL_TIMEOUT_S = 25
BOUND_S = 780  # all of it
ONE_S = 120  # one break: until a later trial has completed

XTASK = ROOT / "target/debug/xtask"


def inside(domain, script, limit_s=60):
    """What a script says in a domain of the lab."""
    command = [XTASK, "lab", "xen", "run", domain, "sh", "-c", script]
    done = subprocess.run(command, text=True, capture_output=True, timeout=limit_s)
    if done.returncode != 0:
        raise RuntimeError(f"in {domain}: {script}: {done.stderr.strip()}")
    return done.stdout.strip()


class Dom0:
    """A shell in Domain-0 that is there already when something has to break at once."""

    def __init__(self):
        command = [XTASK, "lab", "xen", "run", "dom0", "bash"]
        quiet = subprocess.DEVNULL
        self.shell = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)

    def do(self, script):
        self.shell.stdin.write(f"{script}\n")
        self.shell.stdin.flush()

    def close(self):
        self.shell.stdin.close()
        try:
            self.shell.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.shell.kill()
            self.shell.wait()


def command_lines():
    """Every process of this machine: (id, parent, words)."""
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        yield int(folder.name), parent, words


def cut_ssh(_, matrix):
    """Ends the connection that the matrix has to B."""
    masters = [
        number
        for number, parent, words in command_lines()
        if parent == matrix.pid and "-M" in words and words[-2] == "xen-lab-b"
    ]
    if len(masters) != 1:
        raise RuntimeError(f"{len(masters)} connections to B")
    os.kill(masters[0], signal.SIGKILL)


# Ends a load in Domain-0 for want of memory, by the kernel's own hand: the load and a program that asks for
# more than there is share a group with little memory, and the load is what the kernel can do without best.
# (All of Domain-0's memory can't be taken in an emulator before the probe is over.)
SCARCE = "/run/scarce"
SCARCITY = f"""mkdir -p {SCARCE}; mountpoint -q {SCARCE} || mount -t cgroup2 none {SCARCE}
echo +memory >{SCARCE}/cgroup.subtree_control; mkdir -p {SCARCE}/few; echo 4M >{SCARCE}/few/memory.max"""
RUN_OUT = f"""( until load=$(pidof cpuload); do sleep 0.1; done
for id in $load; do echo 1000 >/proc/$id/oom_score_adj; echo $id >{SCARCE}/few/cgroup.procs; done
echo $BASHPID >{SCARCE}/few/cgroup.procs; exec dd if=/dev/zero of=/run/filled bs=1M count=16 )
rm -f /run/filled"""
NO_SCARCITY = f"rmdir {SCARCE}/few && umount {SCARCE} && rmdir {SCARCE}"

# What breaks, how, what the trial's reason must name, and on which disk of B.
ANY, VIRTUAL, PASSED = "/dev/", "/dev/xvd", "/dev/sd"
BREAKS = [
    ("the loaded guest is destroyed", lambda dom0, _: dom0.do("xl destroy A"), "guest A is gone", ANY),
    ("the measured guest is destroyed", lambda dom0, _: dom0.do("xl destroy B"), "guest B is gone", VIRTUAL),
    ("the same with its disk passed through", lambda dom0, _: dom0.do("xl destroy B"), "guest B is gone", PASSED),
    ("the measured guest hangs", lambda dom0, _: dom0.do("xl pause B"), "guest B is paused", ANY),
    ("Domain-0 runs out of memory", lambda dom0, _: dom0.do(RUN_OUT), "(cpuload)", ANY),
    ("SSH is cut", cut_ssh, "ssh to `xen-lab-b`", ANY),
]


class Matrix:
    """A matrix of one cell that goes on until it is told to stop."""

    def __init__(self, folder):
        self.folder = folder
        self.words = open(folder / "words", "w+")
        self.process = subprocess.Popen(
            [XTASK, "matrix", "--lab", "xen", "--plan", plan(folder), "--only", CELLS]
            + ["--results", folder / "results"],
            cwd=ROOT,
            stdout=self.words,
            stderr=self.words,
        )
        self.deadline = time.monotonic() + BOUND_S

    def trials(self):
        """The finished trials."""
        journals = list((self.folder / "results").glob("2*/journal.jsonl"))
        if not journals:
            return []
        lines = journals[0].read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines[1:] if line.endswith("\n")]

    def measures(self, disk):
        """Whether the probe is in B at this moment, on such a disk."""
        return any(
            parent == self.process.pid and f"/diskprobe write {disk}" in words[-2]
            for _, parent, words in command_lines()
            if len(words) > 1
        )

    def wait(self, what, reached, limit_s):
        """Waits until `reached()`; fails when the matrix ends or time is over."""
        end = min(self.deadline, time.monotonic() + limit_s)
        while not reached():
            if self.process.poll() is not None:
                raise RuntimeError(f"the matrix ended, code {self.process.returncode}, before {what}")
            if time.monotonic() > end:
                raise RuntimeError(f"{what}: not reached in time")
            time.sleep(0.05)

    def said(self):
        self.words.flush()
        return pathlib.Path(self.words.name).read_text()


def plan(folder):
    """The lab's quick plan with a longer measurement, a short limit, and more trials than are needed."""
    plans = ROOT / "plans"
    (folder / "published").mkdir()
    for name in ["ipsj-2010.toml", "published/ipsj-2010-os113.toml"]:
        shutil.copy(plans / name, folder / name)
    text = (plans / "xen-lab-quick.toml").read_text()
    for old, new in [
        ("repetitions = 3", "repetitions = 100"),
        ("trial_timeout_s = 90", f"trial_timeout_s = {TRIAL_TIMEOUT_S}"),
        ("proof_timeout_s = 30", "proof_timeout_s = 20"),
        ('total = "8MiB"', 'total = "256MiB"'),
    ]:
        if old not in text:
            raise RuntimeError(f"plans/xen-lab-quick.toml has no `{old}` any more")
        text = text.replace(old, new)
    path = folder / "breaks.toml"
    path.write_text(text)
    return path


def break_and_watch(dom0, matrix, what, do, cause, disk):
    """One break; gives what is wrong with how it was taken."""
    began = time.monotonic()
    before = len(matrix.trials())
    matrix.wait(f"a measurement of {disk}", lambda: matrix.measures(disk), ONE_S)
    do(dom0, matrix.process)
    completed = lambda trials: any(trial["outcome"] == "completed" for trial in trials)

    def recovered():
        spoiled = [i for i, trial in enumerate(matrix.trials()[before:]) if trial["outcome"] != "completed"]
        return spoiled and completed(matrix.trials()[before + spoiled[0] :])

    matrix.wait(f"a trial after `{what}`", recovered, ONE_S)
    spoiled = next(trial for trial in matrix.trials()[before:] if trial["outcome"] != "completed")
    told = f"{spoiled['outcome']} at {spoiled['stage']}: {spoiled['reason']}"
    print(f"{what}: {told}; a trial completed {time.monotonic() - began:.0f} s after", flush=True)
    return [] if cause in spoiled["reason"] else [f"{what}: the cause `{cause}` is not told: {told}"]


def left_behind(matrix):
    """What still runs or is not where it was."""
    trouble = []
    here = [words for _, parent, words in command_lines() if parent == matrix.process.pid]
    if here:
        trouble.append(f"on this machine: {here}")
    find = "for p in /proc/[0-9]*/exe; do readlink $p; done 2>/dev/null | grep /iomatrix/; true"
    for domain in ["dom0", "a", "b", "native"]:
        if tools := inside(domain, find):
            trouble.append(f"in {domain}: {tools}")
    guests = inside("dom0", "xl list | awk 'NR > 1 { print $1, $5 }'")
    if sorted(line.split()[0] for line in guests.splitlines()) != ["A", "B", "Domain-0"]:
        trouble.append(f"guests: {guests}")
    # The controller of the measured disk and the measured interface, where xtask/lab/src/machines.rs puts them.
    inside("dom0", "ls -d /sys/bus/pci/drivers/ahci/0000:00:08.0 /sys/bus/pci/drivers/e1000e/0000:00:07.0")
    if disks := inside("dom0", "xl block-list B | grep 51904; true"):
        trouble.append(f"B still has its virtual disk: {disks}")
    return trouble


def main():
    breaks = [one for one in BREAKS if all(word in one[0] for word in sys.argv[1:])]
    try:
        inside("dom0", SCARCITY)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"{error}\nthe lab must be up: cargo xtask lab xen up", file=sys.stderr)
        return 1
    folder = pathlib.Path(tempfile.mkdtemp(prefix="iomatrix-breaks-"))
    # What ends this script from outside ends it in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    matrix, dom0, trouble = Matrix(folder), Dom0(), []
    try:
        matrix.wait("a first trial", lambda: len(matrix.trials()) > 0, 150)
        for one in breaks:
            trouble += break_and_watch(dom0, matrix, *one)
        matrix.process.send_signal(signal.SIGINT)
        code = matrix.process.wait(timeout=90)
        if code != 130:
            trouble.append(f"after Ctrl-C the matrix ended with code {code}")
        trouble += left_behind(matrix)
        inside("dom0", NO_SCARCITY)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        trouble.append(str(error))
    finally:
        dom0.close()
        if matrix.process.poll() is None:
            matrix.process.kill()
            matrix.process.wait()
        said = matrix.said()
        shutil.rmtree(folder)
    if trouble:
        print("\n".join(trouble), f"the matrix said:\n{said}", sep="\n", file=sys.stderr)
        return 1
    print(f"all {len(breaks)} breaks were survived, and nothing is left behind")
    return 0


if __name__ == "__main__":
    sys.exit(main())
