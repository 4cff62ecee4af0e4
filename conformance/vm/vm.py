#!/usr/bin/env python3
"""The virtual machine of `image` and `run`: qemu without KVM, spoken with over two sockets.

  vm.py save IMAGE -- COMMAND…     boot, run COMMAND, save the running machine
  vm.py run IMAGE [--timeout S] [--share DIR] [-- COMMAND…]
                                   resume a throw-away copy, run COMMAND or stdin's script in it
  vm.py shell IMAGE [--share DIR]  the same for a person: a terminal in it

IMAGE is a directory: disk, vmlinuz, initrd, and state, which is what `save` makes.
"""
import argparse
import contextlib
import json
import os
import secrets
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
import tty

TIME_IS_OVER = 124
MACHINE_FAILED = 125

# A saved machine resumes only in one of the same shape.
SHAPE = [
    "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512",
    # What TCG can't do well, or what a saved machine can't take along.
    "-cpu", "max,-la57,-svm,-pcid", "-smp", "2", "-m", "2048",
    "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-rtc", "base=utc",
    "-device", "virtio-rng-pci",
]
# The emulated CPU is slow: no self-tests, no mitigations, no watchdog that takes slowness for a hang.
COMMAND_LINE = (
    "root=/dev/vda rw console=hvc0 quiet loglevel=4 panic=-1 mitigations=off no_timer_check "
    "tsc=reliable clocksource=tsc cryptomgr.notests random.trust_cpu=on nowatchdog audit=0 "
    "rcupdate.rcu_expedited=1 security=apparmor apparmor=1 psi=1 net.ifnames=0 systemd.show_status=0"
)
# Room for a share, on the way in and out. The files are sparse.
SHARE_BYTES = 4 << 30


class Failed(Exception):
    """What went wrong with the machine, and the status that it gives this program."""

    def __init__(self, message, status=MACHINE_FAILED):
        super().__init__(message)
        self.status = status


class Machine:
    """A qemu process with its sockets: `agent`, where scripts go, and QMP."""

    def __init__(self, image, work, deadline, resume, snapshot, terminal):
        self.deadline = deadline
        self.work = work
        self.buffer = b""
        disks = [(f"{image}/disk", "on" if snapshot else "off"), (f"{work}/in", "off"), (f"{work}/out", "off")]
        # setpriv: qemu must not outlive this program, however that ends.
        command = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", *SHAPE]
        # qemu may be unpacked anywhere; it would look for its data in /usr/share.
        share = os.path.join(os.path.dirname(shutil.which("qemu-system-x86_64")), "../share")
        command += ["-L", f"{share}/qemu", "-L", f"{share}/seabios"]
        command += ["-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initrd", "-append", COMMAND_LINE]
        for number, (path, throw_away) in enumerate(disks):
            command += [
                "-drive", f"file={path},snapshot={throw_away},if=none,id=disk{number},format=raw,cache=unsafe",
                "-device", f"virtio-blk-pci,drive=disk{number}",
            ]
        command += [
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={work}/agent,server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=agent",
            # Somebody sits at it, or it is a log.
            "-chardev", f"socket,id=console,path={work}/console,server=on,wait=off" if terminal
            else f"file,id=console,path={work}/console", "-device", "virtconsole,chardev=console",
            "-qmp", f"unix:{work}/qmp,server=on,wait=off",
        ]
        if resume:
            command += ["-incoming", "defer"]
        with open(f"{work}/log", "wb") as log:
            self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.agent = self.connect("agent")
        self.qmp_stream = self.connect("qmp").makefile("rw")
        self.qmp_stream.readline()  # its greeting
        self.qmp("qmp_capabilities")

    def connect(self, name):
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(f"{self.work}/{name}")
                return connection
            except OSError:
                connection.close()
            self.check()
            time.sleep(0.01)

    def check(self):
        if self.qemu.poll() is not None:
            raise Failed(f"qemu has ended with status {self.qemu.returncode}: {self.said('log')}")
        if time.monotonic() > self.deadline:
            raise Failed("the time is over", TIME_IS_OVER)

    def said(self, name):
        with open(f"{self.work}/{name}", errors="replace") as text:
            return text.read()[-4000:]

    def qmp(self, command, **arguments):
        self.qmp_stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.qmp_stream.flush()
        while line := self.qmp_stream.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise Failed(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]
        raise Failed(f"qemu has ended: {self.said('log')}")

    def receive(self):
        """Adds to the buffer; raises when the time is over or qemu is gone."""
        self.check()
        if select.select([self.agent], [], [], 0.2)[0]:
            data = self.agent.recv(1 << 16)
            if not data:
                raise Failed(f"qemu has ended: {self.said('log')}")
            self.buffer += data

    def ready(self):
        """Waits until the agent takes a script."""
        while b"READY\n" not in self.buffer:
            self.receive()
        self.buffer = b""

    def run(self, script, output):
        """Runs a script, hands what it prints to `output` as it comes, and returns its status."""
        script = script.encode()
        token = secrets.token_hex(8)
        self.agent.sendall(f"{token} {len(script)}\n".encode() + script)
        begin, mark = f"{token}\n".encode(), f"\n{token} ".encode()
        while begin not in self.buffer:
            self.receive()
        self.buffer = self.buffer.partition(begin)[2]
        while True:
            text, found, rest = self.buffer.partition(mark)
            if found:
                output(text)
                if b"\n" in rest:
                    status, _, self.buffer = rest.partition(b"\n")
                    return int(status)
                self.buffer = found + rest
            else:
                # The last line may be the mark's beginning.
                last = max(text.rfind(b"\n"), 0)
                keep = last if mark.startswith(text[last:]) else len(text)
                output(text[:keep])
                self.buffer = text[keep:]
            self.receive()

    def save(self, path):
        self.qmp("stop")
        self.qmp("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.mapped_ram()
        self.qmp("migrate", uri=f"file:{path}")
        self.until("query-migrate", "completed")

    def resume(self, path):
        self.mapped_ram()
        self.qmp("migrate-incoming", uri=f"file:{path}")
        self.until("query-migrate", "completed")
        self.qmp("cont")

    def mapped_ram(self):
        self.qmp("migrate-set-capabilities", capabilities=[{"capability": "mapped-ram", "state": True}])

    def until(self, query, wanted):
        while (status := self.qmp(query).get("status")) != wanted:
            if status == "failed":
                raise Failed(f"{query}: failed: {self.said('log')}")
            self.check()
            time.sleep(0.02)

    def end(self):
        with contextlib.suppress(Failed, OSError, ValueError):
            self.qmp("quit")
            self.qemu.wait(10)
        self.qemu.kill()
        self.qemu.wait()


def to_stdout(data):
    os.write(1, data)


def blank(path):
    with open(path, "ab") as file:
        file.truncate(SHARE_BYTES)


@contextlib.contextmanager
def machine(image, timeout, resume, snapshot, share=None, terminal=False):
    """A machine, with everything that it leaves gone in the end."""
    work = tempfile.mkdtemp(prefix="hoist-vm.")
    deadline = time.monotonic() + timeout
    running = None
    try:
        # Shares are tar archives on disks of their own. virtiofs writes guest memory behind TCG's
        # back (what is executed from there crashes), and the kernel has no 9p.
        if share:
            subprocess.run(["tar", "-C", share, "--exclude=./out", "-cf", f"{work}/in", "."], check=True)
        blank(f"{work}/in")
        blank(f"{work}/out")
        running = Machine(image, work, deadline, resume, snapshot, terminal)
        yield running
    finally:
        if running:
            running.end()
        shutil.rmtree(work)


def save(arguments):
    began = time.monotonic()
    with machine(arguments.image, arguments.timeout, resume=False, snapshot=False) as booted:
        try:
            booted.ready()
        except Failed as failure:
            raise Failed(f"{failure}\n{booted.said('console')}", failure.status) from failure
        print(f"    booted in {time.monotonic() - began:.0f} s", flush=True)
        status = booted.run(shlex.join(arguments.command), to_stdout)
        if status:
            raise Failed(f"{shlex.join(arguments.command)}: status {status}")
        booted.ready()
        booted.save(f"{arguments.image}/state")
    return 0


def unpack(resumed, share):
    script = f"date --set=@{time.time():.3f} >/dev/null && mkdir -p /mnt/share/out"
    if share:
        script += " && blockdev --flushbufs /dev/vdb && tar -xf /dev/vdb -C /mnt/share"
    if resumed.run(script, to_stdout):
        raise Failed("the share can't be unpacked")


def pack(resumed, share):
    script = "tar -C /mnt/share/out -cf - . | dd of=/dev/vdc bs=1M conv=fsync status=none"
    if resumed.run(script, to_stdout):
        raise Failed("what was left in out/ can't be packed")
    os.makedirs(f"{share}/out", exist_ok=True)
    subprocess.run(["tar", "-C", f"{share}/out", "-xf", f"{resumed.work}/out"], check=True)


def run(arguments):
    share = arguments.share
    script = shlex.join(arguments.command) or sys.stdin.read()
    with machine(arguments.image, arguments.timeout, resume=True, snapshot=True, share=share) as resumed:
        resumed.resume(f"{arguments.image}/state")
        unpack(resumed, share)
        status = resumed.run(f"cd /mnt/share\n{script}\n", to_stdout)
        if share:
            pack(resumed, share)
    return status


def relay(source, target, end=b"", after=None, first=None):
    """Copies from one descriptor to another, in a thread of its own, and sends `end` at the end.

    Starts with the event `after`; sets `first` when something has been copied."""

    def copy():
        with contextlib.suppress(OSError):
            if after:
                after.wait()
            while data := os.read(source, 1 << 16):
                os.write(target, data)
                if first:
                    first.set()
            os.write(target, end)

    threading.Thread(target=copy, daemon=True).start()


@contextlib.contextmanager
def raw_terminal():
    """Every key goes to the machine, Ctrl-C too."""
    if not os.isatty(0):
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def shell(arguments):
    share = arguments.share
    size = shutil.get_terminal_size()
    terminal = shlex.quote(os.environ.get("TERM", "linux"))
    login = f"stty rows {size.lines} cols {size.columns}; TERM={terminal} exec bash -l"
    script = f"cd /mnt/share; setsid --ctty --wait bash -c {shlex.quote(login)} </dev/hvc0 >/dev/hvc0 2>&1"
    day = 24 * 60 * 60
    with machine(arguments.image, day, resume=True, snapshot=True, share=share, terminal=True) as resumed:
        resumed.resume(f"{arguments.image}/state")
        unpack(resumed, share)
        console = resumed.connect("console")
        print("a throw-away machine; `exit` or Ctrl-D ends it", flush=True)
        with raw_terminal():
            # A shell that starts throws away what was typed before its prompt.
            prompt = threading.Event()
            relay(console.fileno(), 1, first=prompt)
            relay(0, console.fileno(), end=b"\x04", after=prompt)
            status = resumed.run(script, to_stdout)
        if share:
            pack(resumed, share)
    return status


def main():
    parser = argparse.ArgumentParser(prog="vm.py")
    parser.add_argument("do", choices=["save", "run", "shell"])
    parser.add_argument("image")
    parser.add_argument("--timeout", type=float, default=600, help="seconds (600)")
    parser.add_argument("--share", help="a directory, copied to /mnt/share")
    # What follows -- is the command's, its options too.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments = parser.parse_args(sys.argv[1:end])
    arguments.command = sys.argv[end + 1 :]
    # So that the machine is ended and its files are removed.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(TIME_IS_OVER))
    try:
        return {"save": save, "run": run, "shell": shell}[arguments.do](arguments)
    except Failed as failure:
        print(f"vm: {failure}", file=sys.stderr)
        return failure.status


sys.exit(main())
