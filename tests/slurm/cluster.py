"""A real Slurm on this one machine: Debian's packages, no systemd, no cgroups, two pretended GPUs.

The node is described larger than it is (`config_overrides`), so that jobs may ask for what they would ask a
cluster for. GPUs are character devices: Slurm hands them out and sets CUDA_VISIBLE_DEVICES, nothing computes.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PACKAGES = ("slurm-wlm", "slurm-client", "slurmd", "slurmctld", "munge")
ACCOUNTING_PACKAGES = ("slurmdbd", "mariadb-server", "mariadb-client")
STATE = Path("/var/lib/polyalign-slurm")
GPUS = 2
CONF = """\
ClusterName=polyalign
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits until credentials of its first start have expired; two minutes otherwise.
AuthInfo=cred_expire=10
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
# Over-long memory is noticed by sampling, as nothing else can without cgroups.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
KillWait=20
MinJobAge=3600
OverTimeLimit=0
PreemptMode=REQUEUE
PreemptType=preempt/partition_prio
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/d
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd.log
GresTypes=gpu
{accounting}
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=512000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=batch Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=2
"""
GRES = "AutoDetect=off\nNodeName={host} Name=gpu File={state}/gpu[0-{last}]\n"
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment"""
DBD_CONF = """\
AuthType=auth/munge
DbdHost=localhost
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
LogFile={state}/slurmdbd.log
PidFile={state}/slurmdbd.pid
"""


class CannotStart(Exception):
    """Why there can be no Slurm here."""


def sh(*command: str, check: bool = True, timeout: int = 300) -> str:
    """Output of a command; a failure shows its error."""
    done = subprocess.run(command, text=True, capture_output=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise CannotStart(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def install(packages: tuple[str, ...], needed: str) -> None:
    """Install Debian packages unless the command `needed` is there."""
    if shutil.which(needed, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
        return
    if os.geteuid() != 0:
        raise CannotStart(f"{needed} is not installed and only root can install Debian packages")
    if shutil.which("apt-get") is None:
        raise CannotStart(f"{needed} is not installed and there is no apt-get")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    sh("apt-get", "update", "-q", check=False)
    sh("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages, timeout=900)


def _wait(what: str, ready, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise CannotStart(f"{what} did not come up within {seconds:.0f} s")
        time.sleep(0.2)


def _start_munge() -> None:
    key = Path("/etc/munge/munge.key")
    if not key.is_file() or key.stat().st_size == 0:
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_bytes(os.urandom(1024))
    for folder in ("/etc/munge", "/run/munge", "/var/log/munge", "/var/lib/munge"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        sh("chown", "-R", "munge:munge", folder)
    key.chmod(0o400)
    Path("/run/munge").chmod(0o755)
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode != 0:
        sh("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "/usr/sbin/munged", "--force")
    _wait("munge", lambda: subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0)


def _start_accounting() -> None:
    """Bring up MariaDB and slurmdbd with one account, `lab`; slurm.conf must name them already."""
    install(ACCOUNTING_PACKAGES, "slurmdbd")
    Path("/run/mysqld").mkdir(parents=True, exist_ok=True)
    sh("chown", "mysql:mysql", "/run/mysqld")

    def alive() -> bool:
        return subprocess.run(["mysqladmin", "ping"], capture_output=True, check=False).returncode == 0

    if not alive():
        log = open(STATE / "mariadb.log", "w")  # noqa: SIM115  the server keeps it
        subprocess.Popen(
            ["mysqld", "--user=mysql", "--skip-networking", "--innodb-buffer-pool-size=64M"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _wait("MariaDB", alive, 60)
    sh(
        "mysql",
        "-e",
        "CREATE DATABASE IF NOT EXISTS slurm_acct_db;"
        "CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED BY 'slurm';"
        "GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';",
    )
    conf = Path("/etc/slurm/slurmdbd.conf")
    conf.write_text(DBD_CONF.format(state=STATE))
    conf.chmod(0o600)
    sh("slurmdbd")
    _wait("slurmdbd", lambda: "root" in sh("sacctmgr", "-n", "list", "user", check=False), 30)
    for what in (["cluster", "polyalign"], ["account", "lab"], ["user", "root", "account=lab"]):
        sh("sacctmgr", "-i", "add", *what, check=False)


def up(*, accounting: bool = False) -> None:
    """Install what is missing and start a fresh one-node cluster.

    Raises:
        CannotStart: why that is impossible here.
    """
    install(PACKAGES, "slurmctld")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    down()
    shutil.rmtree(STATE, ignore_errors=True)
    for folder in (STATE / "ctld", STATE / "d", Path("/etc/slurm")):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(GPUS):
        sh("mknod", "-m", "666", str(STATE / f"gpu{number}"), "c", "1", "3")
    _start_munge()
    host = socket.gethostname().split(".")[0]
    conf = Path("/etc/slurm/slurm.conf")
    lines = ACCOUNTING if accounting else ""
    conf.write_text(CONF.format(host=host, state=STATE, gpus=GPUS, accounting=lines))
    Path("/etc/slurm/gres.conf").write_text(GRES.format(host=host, state=STATE, last=GPUS - 1))
    if accounting:
        _start_accounting()
    sh("slurmctld")
    sh("slurmd")
    _wait("the node", lambda: sh("sinfo", "-h", "-o", "%t", "-p", "batch", check=False).strip() == "idle")


def down() -> None:
    """Stop every daemon of the cluster."""
    for daemon in ("slurmd", "slurmctld", "slurmdbd"):
        subprocess.run(["pkill", "-x", daemon], check=False)
        _wait(
            f"the end of {daemon}",
            lambda name=daemon: subprocess.run(["pgrep", "-x", name], capture_output=True, check=False).returncode,
        )
