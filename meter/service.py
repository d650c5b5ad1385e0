"""The systemd unit with which a meter starts at boot, under a user of its own.

Not here: writing it to /etc and enabling it (the command line does, as root).
"""

import re
from pathlib import Path

_SAFE = re.compile(r"[A-Za-z0-9_./@:-]+")  # what needs no quoting in a unit file

_UNIT = """\
[Unit]
Description=Wattledger meter ({config})
# A Pi has no clock of its own: wait until the network has set it.
Wants=network-online.target time-sync.target
After=network-online.target time-sync.target
# Disks, keys and networks are mended by people: never give up.
StartLimitIntervalSec=0

[Service]
Type=exec
User={user}
SupplementaryGroups=dialout
StateDirectory={state_directory}
StateDirectoryMode=0700
ExecStart={command} meter run --config {config}
Restart=on-failure
RestartSec=5
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


def unit_text(
    config: Path,
    command: Path,
    state_directory: str = "wattledger-meter",
    user: str = "wattledger",
) -> str:
    """The unit for one configuration file; `command` is the absolute path of `wattledger`.

    `state_directory` is a name under /var/lib, made for the user and named as `state_dir` in the
    configuration. Raises ValueError for what a unit file would read otherwise than written.
    """
    for value in (str(config), str(command), state_directory, user):
        if _SAFE.fullmatch(value) is None:
            raise ValueError(f"{value!r}: use letters, digits, and . _ - @ : / only")
    if not (config.is_absolute() and command.is_absolute()):
        raise ValueError("a unit needs absolute paths")
    if "/" in state_directory:
        raise ValueError(f"{state_directory!r} is a name under /var/lib, not a path")
    return _UNIT.format(config=config, command=command, state_directory=state_directory, user=user)
