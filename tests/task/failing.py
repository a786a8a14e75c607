"""What goes wrong in a process that measures; it imports this file, so this imports little."""

import os
import signal

from suexp.attention.softmax import Softmax


class Hungry(Softmax):
    """Runs out of memory beyond eight tokens."""

    def forward(self, q, k, v, mask, bias=None):
        if q.shape[-2] > 8:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 PB")
        return super().forward(q, k, v, mask, bias)


class Broken(Softmax):
    """Does not work."""

    def forward(self, q, k, v, mask, bias=None):
        raise RuntimeError("broken")


class Killed(Softmax):
    """Is killed by the system beyond eight tokens."""

    def forward(self, q, k, v, mask, bias=None):
        if q.shape[-2] > 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(q, k, v, mask, bias)


class Worker:
    def settings(self, names):
        return [os.environ[name] for name in names]

    def divide(self, a, b):
        return a / b

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)
