"""One of the processes that train a candidate together: ``python -m pathoprog.training.device_process MEETING NUMBER``.

`pathoprog.training.member.device_processes` starts them, one for each device.
"""

import os
import signal
import sys
import traceback
from pathlib import Path

from pathoprog.errors import PathoprogError
from pathoprog.system.files import read_json
from pathoprog.training.data.bags import Share
from pathoprog.training.launchers import devices_together
from pathoprog.training.member.device_group import DeviceGroup
from pathoprog.training.member.device_processes import REQUEST, STEP, refuse
from pathoprog.training.train import settings_from_dict, train_in_group


def main(meeting: Path, number: int) -> int:
    """Train the candidate that the meeting's request describes, on the device of this number."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the one who started this too, and ends all
    settings = settings_from_dict(read_json(meeting / REQUEST))
    options = settings.fit
    device = devices_together(settings.device, options.gpus)[number]
    group = DeviceGroup(Share(number, options.gpus), device, meeting)

    def tick(done: int) -> None:
        if group.is_first and (done % options.log_every == 0 or done == options.steps):
            (meeting / STEP).write_text(str(done), encoding="ascii")

    try:
        train_in_group(settings, tick, group)
    except PathoprogError as error:
        return refuse(meeting, number, error)
    return 0


def end(code: int) -> None:
    """End now: after an error torch's own end may wait for processes that will not come."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        end_code = main(Path(sys.argv[1]), int(sys.argv[2]))
    except BaseException:  # whatever it is: it is shown, and it ends this process
        traceback.print_exc()
        end(1)
    if end_code:
        end(end_code)
