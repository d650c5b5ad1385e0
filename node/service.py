"""systemd units for `node install` and `meter install`: their text, and putting them in place.

A unit runs as a user of its own without any privilege but, for a meter, the group `dialout` that
owns the serial ports. Source: systemd.service(5), systemd.exec(5).
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from node.errors import NodeError

UNIT_FOLDER = Path("/etc/systemd/system")
USER = "wattledger"
PLAIN = re.compile(r"[A-Za-z0-9_./@:+-]+")  # what needs no quoting in a unit file
SHARED = (
    *("/", "/boot", "/boot/firmware", "/dev", "/etc", "/home", "/mnt", "/opt", "/root", "/srv"),
    *("/tmp", "/usr", "/usr/local", "/usr/local/etc", "/var", "/var/lib", "/var/tmp"),
)
"""Folders that hold what is not ours: everything in the configuration's folder becomes the unit's
user's."""

UNIT = """\
[Unit]
Description=Wattledger {kind}
After=network-online.target time-sync.target
Wants=network-online.target

[Service]
ExecStart={command} {kind} run --config {config}
User={user}
{groups}StateDirectory=wattledger
WorkingDirectory=/var/lib/wattledger
ReadWritePaths={folder}
# A stop is clean when the note of it is on disk; an SD card may take its time.
TimeoutStopSec=60
Restart=on-failure
RestartSec=5
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
CapabilityBoundingSet=
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def unit_text(kind: str, config: Path) -> str:
    """The unit of a `node` or `meter` with this configuration file. Raises NodeError."""
    if PLAIN.fullmatch(str(config.resolve())) is None:
        raise NodeError(f"{config}: a unit needs a path of letters, digits and _ . / @ : + -")
    command = shutil.which("wattledger") or f"{sys.executable} -m node"
    return UNIT.format(
        kind=kind,
        command=command,
        config=config.resolve(),
        folder=config.resolve().parent,
        user=USER,
        groups="SupplementaryGroups=dialout\n" if kind == "meter" else "",
    )


def install_service(kind: str, config: Path, *, only_print: bool = False) -> str:
    """Write, enable and start the unit; returns what was done in words, or the unit itself."""
    text = unit_text(kind, config)
    if only_print:
        return text
    check_folder(config.resolve().parent, kind)
    if os.geteuid() != 0:
        raise NodeError(f"installing a service needs root: sudo wattledger {kind} install ...")
    if shutil.which("systemctl") is None:
        raise NodeError(
            f"this machine has no systemd; see the unit with: wattledger {kind} install --print"
        )
    unit = UNIT_FOLDER / f"wattledger-{kind}.service"
    _run("useradd", "--system", "--user-group", "--no-create-home", USER, accepted=(0, 9))
    unit.write_text(text)
    _run("chown", "-R", f"{USER}:{USER}", str(config.resolve().parent))
    _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", "--now", unit.name)
    return f"{unit} is written, enabled and started; see: journalctl -u {unit.name}"


def check_folder(folder: Path, kind: str) -> None:
    """Raises NodeError for a folder that must not, or can not, belong to the unit's user."""
    private = folder.parts[1:2] in (("home",), ("root",))
    if str(folder) in SHARED or private:
        raise NodeError(
            f"{folder} is not a folder for a service, which has to own all that is in it: put the "
            f"files of this {kind} in a folder of their own, such as /var/lib/wattledger/{kind}"
        )


def _run(*command: str, accepted: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in accepted:  # useradd answers 9 where the user exists
        raise NodeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
