"""Commands in a network that has loopback alone, and a count of what tried to leave it."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

APART = ("unshare", "--net", "--pid", "--mount-proc", "--fork", "--kill-child", "--")
SEAL = """
ip link set lo up
ip link add way type veth peer name nowhere
for name in way nowhere; do echo 1 >/proc/sys/net/ipv6/conf/$name/disable_ipv6; done
ip address add 192.0.2.1/24 dev way
ip link set nowhere up
ip link set way up
ip neighbour add 192.0.2.254 lladdr 02:00:00:00:00:01 dev way nud permanent
ip route add default via 192.0.2.254
count() {
  sed -n 's/^ *way://p' /proc/net/dev | awk '{ print "v4", $10 }'
  awk '$1 == "Ip6OutNoRoutes" { print "v6", $2 }' /proc/net/snmp6
}
counts=$1
shift
count >"$counts"
code=0
"$@" || code=$?
count >>"$counts"
python3 -c '
import socket
for family, address in ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")):
    try:
        socket.socket(family, socket.SOCK_DGRAM).sendto(b"x", (address, 53))
    except OSError:
        pass
'
count >>"$counts"
exit $code
"""


@dataclass(frozen=True)
class Sealed:
    """How a command ended. Of packets out of the network, IPv4 and IPv6: `left` by the command,
    `seen` of two that were sent after it to see whether the counters count.
    """

    code: int
    out: str
    left: tuple[int, int]
    seen: tuple[int, int]


def sealed(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], limit_s: float
) -> Sealed:
    """Run a command in `folder` where there is no other machine. Needs root."""
    with TemporaryDirectory() as name:
        counts = Path(name) / "counts"
        done = subprocess.run(
            [*APART, "sh", "-uc", SEAL, "seal", str(counts), *words],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_s,
            check=False,
        )
        told = counts.read_text(encoding="utf-8")
    found = [int(count) for count in re.findall(r"^v[46] (\d+)$", told, re.MULTILINE)]
    assert len(found) == 6, done.stdout
    before, after, end = (found[0:2], found[2:4], found[4:6])
    return Sealed(
        done.returncode,
        done.stdout,
        (after[0] - before[0], after[1] - before[1]),
        (end[0] - after[0], end[1] - after[1]),
    )
