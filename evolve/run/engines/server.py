"""Loaded by the process that workers are forked from.

Stopping is the driver's business: what is sent to the whole group, by Ctrl-C or by a scheduler, must take neither this
process nor its workers, which may be writing checkpoints. It ends by itself when nobody can ask it for workers.
"""

import signal

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
