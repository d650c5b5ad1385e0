"""Giving up rights, for good: what this process can do afterwards is compute, read and write.

Linux only: no new privileges, resource limits, and a seccomp filter through libseccomp that kills
the process at any system call but those of memory, time and its two pipes. Where one of these
cannot be had, nothing is started. Sources: prctl(2), setrlimit(2), seccomp(2).
"""

import ctypes
import mmap
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38

ALLOWED = (
    "brk", "clock_gettime", "exit", "exit_group", "futex", "getpid", "getrandom", "gettimeofday",
    "madvise", "mremap", "munmap", "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sched_yield", "sigaltstack",
)  # fmt: skip
"""Beside read from standard input, write to standard output, and memory that is not executable."""


class CannotConfine(Exception):
    """This platform has no such walls; the text says which one is missing and what to do."""


def check_platform() -> None:
    """Raises CannotConfine where a worker could not give up its rights."""
    if sys.platform != "linux":
        raise CannotConfine(
            f'contracts.isolation = "process" needs Linux and its seccomp, this is {sys.platform}'
        )
    load_seccomp()


def load_seccomp() -> Any:
    """The binding of libseccomp. Raises CannotConfine without it."""
    try:
        import pyseccomp  # it looks for the library when it is imported
    except (ImportError, RuntimeError) as error:
        raise CannotConfine(
            'contracts.isolation = "process" needs libseccomp and the Python package pyseccomp '
            f"({error}): apt install libseccomp2, pip install pyseccomp"
        ) from error
    return pyseccomp


def give_up_rights(memory_bytes: int) -> None:
    """From here on: no file, socket, process or thread, and `memory_bytes` more than now."""
    filters = make_filter(load_seccomp())
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in (
        (PR_SET_PDEATHSIG, signal.SIGKILL),
        (PR_SET_DUMPABLE, 0),
        (PR_SET_NO_NEW_PRIVS, 1),
    ):
        if libc.prctl(option, int(value), 0, 0, 0) != 0:
            raise CannotConfine(f"prctl {option}: {os.strerror(ctypes.get_errno())}")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    for kind, most in (
        (resource.RLIMIT_AS, used + memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    filters.load()


def make_filter(seccomp: Any) -> Any:
    """All but ALLOWED kills the process; the call of a planted escape is its last."""
    filters = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
    for name in ALLOWED:
        filters.add_rule(seccomp.ALLOW, name)
    filters.add_rule(seccomp.ALLOW, "read", seccomp.Arg(0, seccomp.EQ, 0))
    filters.add_rule(seccomp.ALLOW, "write", seccomp.Arg(0, seccomp.EQ, 1))
    not_executable = seccomp.Arg(2, seccomp.MASKED_EQ, mmap.PROT_EXEC, 0)
    for name in ("mmap", "mprotect"):
        filters.add_rule(seccomp.ALLOW, name, not_executable)
    return filters
