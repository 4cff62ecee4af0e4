//! The command line of hoist: the one table of its commands and their options.

pub(crate) mod flags;

use self::flags::*;
use crate::args::{Action, Command, Operand, Order, Program};
use crate::commands;

const ID: &str = "<container-id>";
const SHELLS: &[&str] = &["bash", "zsh", "fish"];

pub(crate) static PROGRAM: Program = Program {
    name: "hoist",
    version: env!("CARGO_PKG_VERSION"),
    summary: "Open Container Initiative runtime",
    description: "\
hoist runs applications that are packaged as bundles of the Open Container
Initiative (OCI). It is a drop-in for runc: the same commands, options, exit
codes and log format.

A bundle is a directory with a configuration, config.json, and a root file
system. To start a new instance of a container:

    # hoist run [ -b bundle ] <container-id>

The id is your name for the instance and must be unique on the host. The bundle
is the current directory unless -b names another.",
    flags: &[DEBUG, LOG, LOG_FORMAT, ROOT, CRIU, SYSTEMD_CGROUP, ROOTLESS, HELP, VERSION],
    commands: &[
        CHECKPOINT,
        CREATE,
        DELETE,
        EVENTS,
        EXEC,
        FEATURES,
        KILL,
        LIST,
        PAUSE,
        PLAN,
        PS,
        RESTORE,
        RESUME,
        RUN,
        SPEC,
        START,
        STATE,
        UPDATE,
        COMPLETION,
        MAN,
        HELP_COMMAND,
    ],
};

/// What most commands have in common: one id, options anywhere.
const fn command(name: &'static str, summary: &'static str, action: Action) -> Command {
    Command {
        name,
        alias: None,
        summary,
        operands: ID,
        arity: (1, 1),
        order: Order::Free,
        flags: &[HELP],
        description: "",
        completion: Operand::Container,
        hidden: false,
        action,
    }
}

const CREATE: Command = Command {
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        HELP,
    ],
    description: "\
Creates a container from a bundle: everything is prepared, and the user's
program waits for \"hoist start\". The program and its arguments are process.args
in config.json; \"hoist spec\" writes a configuration to begin with.",
    completion: Operand::Nothing,
    ..command("create", "create a container", commands::create::run)
};

const RUN: Command = Command {
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        DETACH,
        KEEP,
        PID_FILE,
        NO_SUBREAPER,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        TIMINGS,
        HELP,
    ],
    description: "\
Creates a container from a bundle, starts it and waits for it. Signals are passed
on to its process, and the exit code is that of the process, or 128 and the
number of the signal that ended it. With process.terminal in config.json the
terminal of the caller is connected to the container's.

With --detach the command returns as soon as the process runs; a terminal then
needs --console-socket.",
    completion: Operand::Nothing,
    ..command("run", "create and run a container", commands::run::run)
};

const START: Command = Command {
    description: "Lets the program of a container that was created begin.",
    ..command("start", "start the program of a created container", commands::start::run)
};

const STATE: Command = Command {
    description: "Prints the state of a container as JSON.",
    ..command("state", "print the state of a container", commands::state::run)
};

const KILL: Command = Command {
    operands: "<container-id> [signal]",
    arity: (1, 2),
    flags: &[ALL, HELP],
    description: "\
Sends a signal to the container's first process: TERM unless another is given by
name, with or without SIG, or by number.

To send KILL to the container ubuntu01:

    # hoist kill ubuntu01 KILL",
    ..command("kill", "send a signal to a container (default: TERM)", commands::kill::run)
};

const DELETE: Command = Command {
    flags: &[FORCE, HELP],
    description: "\
Removes everything that a stopped or created container holds. With --force a
container that still runs is killed first, and an unknown one is no error.",
    ..command("delete", "delete a container", commands::delete::run)
};

const EXEC: Command = Command {
    operands: "<container-id> <command> [argument...]",
    arity: (1, usize::MAX),
    order: Order::OptionsFirst,
    flags: &[
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        CWD,
        ENV,
        TTY,
        USER,
        ADDITIONAL_GIDS,
        PROCESS,
        DETACH,
        PID_FILE,
        PROCESS_LABEL,
        APPARMOR,
        NO_NEW_PRIVS,
        CAP,
        PRESERVE_FDS,
        CGROUP,
        IGNORE_PAUSED,
        HELP,
    ],
    description: "\
Runs a further program in a container that was created or runs. Options stand
before the id; everything behind it belongs to the program. The exit code is that
of the program, 128 and the number of the signal that ended it, or 255 if hoist
could not start it.

To list the processes of a container that has ps:

    # hoist exec ubuntu01 ps",
    ..command("exec", "run a further program in a container", commands::exec::run)
};

const PS: Command = Command {
    operands: "<container-id> [ps-option...]",
    arity: (1, usize::MAX),
    order: Order::OptionsFirst,
    flags: &[FORMAT, HELP],
    description: "\
Runs ps(1) on the host (with -ef unless options are given) and prints those lines
whose PID belongs to the container. With --format json it prints the process ids
alone.",
    ..command("ps", "list the processes of a container", commands::ps::run)
};

const EVENTS: Command = Command {
    flags: &[INTERVAL, STATS, HELP],
    description: "\
Prints what happens to a container as JSON, one object a line, until its last
process has ended: its statistics each time that the interval is over, and an
object of the type oom for each process that the kernel has killed because memory
ran out. With --stats it prints the statistics once.

Statistics are of the container's cgroup, and of the network interfaces of its
network namespace, if it has one of its own.",
    ..command("events", "show events and statistics of a container", commands::events::run)
};

const LIST: Command = Command {
    operands: "",
    arity: (0, 0),
    flags: &[FORMAT, QUIET, HELP],
    description: "Lists the containers below the directory that the global option --root names.",
    completion: Operand::Nothing,
    ..command("list", "list containers", commands::list::run)
};

const PAUSE: Command = Command {
    description: "\
Freezes all processes of a container, and returns when they stand still. They
keep their memory; signals wait, except for KILL.",
    ..command("pause", "suspend the processes of a container", commands::pause::pause)
};

const RESUME: Command = Command {
    description: "Lets the processes of a paused container go on.",
    ..command("resume", "resume the processes of a container", commands::pause::resume)
};

const UPDATE: Command = Command {
    flags: &[
        RESOURCES,
        BLKIO_WEIGHT,
        CPU_PERIOD,
        CPU_QUOTA,
        CPU_BURST,
        CPU_SHARE,
        CPU_RT_PERIOD,
        CPU_RT_RUNTIME,
        CPU_IDLE,
        CPUSET_CPUS,
        CPUSET_MEMS,
        KERNEL_MEMORY,
        KERNEL_MEMORY_TCP,
        MEMORY,
        MEMORY_RESERVATION,
        MEMORY_SWAP,
        PIDS_LIMIT,
        L3_CACHE_SCHEMA,
        MEM_BW_SCHEMA,
        HELP,
    ],
    description: "\
Changes limits of a container that runs, is created or is paused; what isn't
given stays as it is. If one value is refused, nothing is changed.

To limit the memory and the processes of ubuntu01:

    # hoist update --memory 512M --pids-limit 100 ubuntu01

All of linux.resources in config.json can be given as JSON:

    # echo '{\"unified\": {\"memory.high\": \"400M\"}}' | hoist update -r - ubuntu01",
    ..command("update", "change the resources of a container", commands::update::run)
};

const SPEC: Command = Command {
    operands: "",
    arity: (0, 0),
    flags: &[BUNDLE, SPEC_ROOTLESS, HELP],
    description: "\
Writes config.json, a configuration to begin with. It runs sh in the directory
rootfs, read-only and with few capabilities; edit it as you need. A file that
exists is not overwritten.

To make a bundle and run it:

    # mkdir -p hello/rootfs && cd hello
    # tar -C rootfs -xf /path/to/image.tar
    # hoist spec
    # hoist run container1",
    completion: Operand::Nothing,
    ..command("spec", "write a new configuration", commands::spec::run)
};

const FEATURES: Command = Command {
    operands: "",
    arity: (0, 0),
    description: "\
Prints as JSON what hoist supports, in the format of the runtime-spec's features.md.",
    completion: Operand::Nothing,
    ..command("features", "show the supported features", commands::features::run)
};

const PLAN: Command = Command {
    operands: "[bundle]",
    arity: (0, 1),
    flags: &[PLAN_FORMAT, HELP],
    description: "\
Prints the steps that would make a container of a bundle, without doing any: what
each one does and which part of config.json it comes from. Errors of other
commands and --timings number the steps in the same way.",
    completion: Operand::Directory,
    ..command("plan", "show the steps that a bundle is compiled into", commands::plan::run)
};

const COMPLETION: Command = Command {
    operands: "bash|zsh|fish",
    arity: (1, 1),
    description: "Prints a completion script for a shell.",
    completion: Operand::Words(SHELLS),
    hidden: true,
    ..command("completion", "print a shell's completion script", commands::reference::completion)
};

const MAN: Command = Command {
    operands: "<directory>",
    arity: (1, 1),
    description: "Writes the manual pages to a directory.",
    completion: Operand::Directory,
    hidden: true,
    ..command("man", "write the manual pages", commands::reference::man)
};

const HELP_COMMAND: Command = Command {
    alias: Some("h"),
    operands: "[command]",
    arity: (0, 1),
    description: "Shows the commands, or help on one of them.",
    completion: Operand::Command,
    ..command("help", "show help on hoist or on one command", commands::reference::help)
};

/// A command of runc that hoist does not have yet. It is neither shown nor completed, and whatever
/// it is given, the answer is the same.
const fn missing(name: &'static str, summary: &'static str) -> Command {
    Command {
        operands: "[argument...]",
        arity: (0, usize::MAX),
        order: Order::Raw,
        description: "This command is not supported yet.",
        hidden: true,
        ..command(name, summary, commands::missing::run)
    }
}

const CHECKPOINT: Command = missing("checkpoint", "checkpoint a running container");
const RESTORE: Command = missing("restore", "restore a container from a checkpoint");
