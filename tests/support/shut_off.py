"""A program for namespaces of its own: a service without a network, from a folder that cannot be written.

    unshare --map-root-user --net --mount python shut_off.py INSTALLED FOLDER BUNDLE

It puts the loopback up, makes the folder INSTALLED (which holds the package) read-only, has a service in FOLDER score
the one slide there, and prints what it found as JSON.
"""

import fcntl
import json
import socket
import struct
import subprocess
import sys
from pathlib import Path

SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def loopback_up() -> None:
    """As `ip link set lo up`, which not every machine has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def read_only(folder: Path) -> None:
    """A mount of the folder over itself that nobody can write to, root neither."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)


def refusal(what) -> str:
    """What kind of error a call ends with; empty if with none."""
    try:
        what()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def main(installed: Path, folder: Path, bundle: Path) -> None:
    loopback_up()
    read_only(installed)
    from made_service import MadeService  # it imports what is read-only from here on

    here = "import pathoprog; print(pathoprog.__file__)"
    imported = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, check=True).stdout.strip()
    made = MadeService(folder, bundle)
    made.start()
    try:
        slides = made.listed()
        ended = [made.ended(made.submit(slide).json["id"]) for slide in slides.values()]
        result = made.ask("GET", f"/v1/submissions/{ended[0]['id']}/report", role="admin")
    finally:
        code = made.stop()
    found = {
        "imported": imported,
        "write": refusal(lambda: (installed / "mine").touch()),
        "network": refusal(lambda: socket.create_connection(("192.0.2.1", 80), 5)),
        "states": [one["state"] for one in ended],
        "report": result.status,
        "exit": code,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
