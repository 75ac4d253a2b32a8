"""Two hosts train one run through accelerate's launcher; one is cut off, and the run goes on.

    python tests/faults/two_hosts.py

The hosts are two network namespaces of this machine, joined by a pair of virtual cables; nothing
else can be reached from them. It needs root and `ip`; where they are not to be had it says so and
exits with 77.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from forked import Ended, import_qcli
from ranks import run_ranks
from small_run import difference, facts_of, write_recipe
from tally import Tally

HOSTS = ("qcli-host-0", "qcli-host-1")
ADDRESSES = ("10.253.7.1", "10.253.7.2")
CABLE = "qcli-cable"
PORT = "29517"
SKIPPED = 77
PATIENCE_MINUTES = 0.5
BOUND_SECONDS = 240.0


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run(("ip", *words), check=True, capture_output=True, text=True)


def on(host: int, *words: str) -> tuple[str, ...]:
    """Return a command that runs on a host."""
    return ("ip", "netns", "exec", HOSTS[host], *words)


def make_hosts() -> None:
    """Make the namespaces and join them."""
    for host in HOSTS:
        ip("netns", "add", host)
    ip("link", "add", f"{CABLE}0", "type", "veth", "peer", "name", f"{CABLE}1")
    for number, (host, address) in enumerate(zip(HOSTS, ADDRESSES, strict=True)):
        ip("link", "set", f"{CABLE}{number}", "netns", host)
        ip("-n", host, "addr", "add", f"{address}/30", "dev", f"{CABLE}{number}")
        ip("-n", host, "link", "set", "lo", "up")
        ip("-n", host, "link", "set", f"{CABLE}{number}", "up")


def remove_hosts() -> None:
    """Remove the namespaces, and with them the cable."""
    for host in HOSTS:
        subprocess.run(("ip", "netns", "del", host), capture_output=True)


class Hosts:
    """Runs commands on both hosts.

    Args:
        folder: The disk that they share.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launches = 0

    def start(self, *arguments: str, hide: Path | None = None) -> list[subprocess.Popen[str]]:
        """Start a command of qcli, with one process on each host.

        Args:
            arguments: What follows `qcli`.
            hide: A folder in whose place the second host has a disk of its own.
        """
        self.launches += 1
        return [self._start(host, arguments, hide if host else None) for host in range(2)]

    def _start(
        self, host: int, arguments: tuple[str, ...], hide: Path | None
    ) -> subprocess.Popen[str]:
        launch = (
            *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
            *("--num_machines", "2", "--num_processes", "2", "--machine_rank", str(host)),
            *("--main_process_ip", ADDRESSES[0], "--main_process_port", PORT),
            *("--mixed_precision", "no", "--dynamo_backend", "no", "-m", "qcli", *arguments),
        )
        command = on(host, *launch)
        if hide is not None:
            script = f'mount -t tmpfs none "{hide}" && cd "{hide}" && exec "$@"'
            command = ("unshare", "--mount", "sh", "-c", script, "sh", *command)
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": f"{CABLE}{host}", "OMP_NUM_THREADS": "1"}
        log = self.folder / f"host{host}-{self.launches}.txt"
        with log.open("w") as file:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=file, stderr=file, text=True
            )

    def wait(self, processes: list[subprocess.Popen[str]]) -> list[Ended]:
        """Wait for both launchers; what the launchers themselves print is left out."""
        end = time.monotonic() + BOUND_SECONDS
        codes = []
        for process in processes:
            try:
                codes.append(process.wait(max(0.1, end - time.monotonic())))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append(process.wait())
        return [
            Ended(code, own_words((self.folder / f"host{host}-{self.launches}.txt").read_text()))
            for host, code in enumerate(codes)
        ]


def own_words(text: str) -> str:
    """Return what the ranks said: of one that failed, the launcher tells with a traceback."""
    lines = text.splitlines()
    said = [line for line in lines if line.startswith("error")]
    if any('File "' in line and "/qcli/" in line for line in lines):
        said.append("Traceback (most recent call last)")
    return "\n".join(said)


def check_same(tally: Tally, hosts: Hosts, command: tuple[str, ...]) -> dict[str, object]:
    """Two hosts with a process each give what two processes on one host give."""
    told = run_ranks(hosts.folder, 2, *command, "-o", "whole")
    assert [each.code for each in told] == [0, 0], told
    whole = facts_of(hosts.folder / "whole")
    ended = hosts.wait(hosts.start(*command, "-o", "two"))
    faults = [f"exit {each.code}" for each in ended if each.code]
    faults = faults or difference(facts_of(hosts.folder / "two"), whole)
    tally.case("two hosts equal one", faults, *ended)
    return whole


def check_cut(
    tally: Tally, hosts: Hosts, command: tuple[str, ...], whole: dict[str, object], host: int
) -> None:
    """Cut a host off while it trains; the run stops on both, and goes on to the same end."""
    run = hosts.folder / "cut"
    processes = hosts.start(*command, "-o", "cut")
    while not (run / "metrics.jsonl").exists() and processes[0].poll() is None:
        time.sleep(0.01)
    ip("-n", HOSTS[host], "link", "set", f"{CABLE}{host}", "down")
    cut_at = time.monotonic()
    ended = hosts.wait(processes)
    waited = time.monotonic() - cut_at
    faults = [f"exit {each.code} on host {n}" for n, each in enumerate(ended) if each.code != 1]
    if not any("another process" in each.output for each in ended):
        faults.append("neither host says what happened")
    if (run / "result.json").exists():
        faults.append("the run ended before it was cut")
    ip("-n", HOSTS[host], "link", "set", f"{CABLE}{host}", "up")
    told = hosts.wait(hosts.start("train", "--cpu", "--resume", "cut"))
    faults += [f"then exit {each.code}" for each in told if each.code]
    if not faults:
        faults = difference(facts_of(run), whole)
    tally.case(f"host {host} cut off, both stopped after {waited:.0f} s", faults, *ended, *told)
    shutil.rmtree(run, ignore_errors=True)


def check_unshared(tally: Tally, hosts: Hosts, command: tuple[str, ...]) -> None:
    """A host that has another disk in the place of the run directory is told so."""
    place = hosts.folder / "own"
    place.mkdir()
    (place / "small.json").write_text((hosts.folder / "small.json").read_text())
    arguments = [str(hosts.folder / "small.json") if "small.json" in w else w for w in command]
    ended = hosts.wait(hosts.start(*arguments, "-o", str(place / "run"), hide=place))
    faults = [f"exit {each.code} on host {n}" for n, each in enumerate(ended) if each.code != 1]
    if not all("on a disk that they share" in each.output for each in ended):
        faults.append("the message does not say what is wrong")
    tally.case("no shared disk", faults, *ended)


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4, help="of the cases, 4 at most")
    count = parser.parse_args().count
    remove_hosts()
    try:
        make_hosts()
    except (OSError, subprocess.CalledProcessError) as error:
        remove_hosts()
        print(f"two_hosts: no network namespaces can be made here: {error}")
        sys.exit(SKIPPED)
    import_qcli()
    tally = Tally("two_hosts")
    try:
        with tempfile.TemporaryDirectory() as name:
            hosts = Hosts(Path(name))
            recipe = write_recipe(hosts.folder, epochs=8)
            command = (*recipe, "--patience", str(PATIENCE_MINUTES))
            whole = check_same(tally, hosts, command)
            if count > 1:
                check_unshared(tally, hosts, command)
            for host in range(max(0, min(count - 2, 2))):
                check_cut(tally, hosts, command, whole, 1 - host)
    finally:
        remove_hosts()
    tally.end()


if __name__ == "__main__":
    main()
