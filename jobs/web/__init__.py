"""The status page, the metrics and two probes, over HTTP on `[daemon] listen`.

Reading only: GET and HEAD, no script, nothing from elsewhere. Whoever may connect may read; the
default address is reachable from this host alone.
"""

from jobs.web.document import View
from jobs.web.server import Server, listen

__all__ = ["Server", "View", "listen"]
