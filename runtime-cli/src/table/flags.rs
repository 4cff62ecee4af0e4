//! Every option there is.

use crate::args::{Flag, Value};

const FORMATS: &[&str] = &["table", "json"];

// Options of the program.
pub(crate) const DEBUG: Flag = Flag::switch("debug", "enable debug logging");
pub(crate) const LOG: Flag =
    Flag::new("log", Value::File("FILE"), "append log messages to FILE (default: stderr)");
pub(crate) const LOG_FORMAT: Flag = Flag::new(
    "log-format",
    Value::OneOf("FORMAT", &["text", "json"]),
    "log as text or as json (default: text)",
);
pub(crate) const ROOT: Flag = Flag::new(
    "root",
    Value::Directory("DIR"),
    "keep the state of containers below DIR, which should be on a tmpfs (default: /run/hoist, or \
     $XDG_RUNTIME_DIR/hoist without root)",
);
pub(crate) const CRIU: Flag =
    Flag::new("criu", Value::Text("PATH"), "(obsolete; ignored)").hidden();
pub(crate) const SYSTEMD_CGROUP: Flag = Flag::switch(
    "systemd-cgroup",
    "let systemd manage cgroups; cgroupsPath then reads slice:prefix:name",
);
/// Hidden because it changes nothing: hoist goes by what it may do.
pub(crate) const ROOTLESS: Flag = Flag::new(
    "rootless",
    Value::OneOf("MODE", &["auto", "true", "false"]),
    "tolerate missing permission for cgroups: true, false or auto (default: auto)",
)
.hidden();
pub(crate) const HELP: Flag = Flag::switch("help", "show help").short('h');
pub(crate) const VERSION: Flag = Flag::switch("version", "print the version").short('v');

// Options of create, run and exec.
pub(crate) const BUNDLE: Flag = Flag::new(
    "bundle",
    Value::Directory("DIR"),
    "the bundle's directory (default: the current directory)",
)
.short('b');
pub(crate) const CONSOLE_SOCKET: Flag = Flag::new(
    "console-socket",
    Value::File("SOCKET"),
    "the Unix socket that receives the master end of the console's pseudoterminal",
);
pub(crate) const PIDFD_SOCKET: Flag = Flag::new(
    "pidfd-socket",
    Value::File("SOCKET"),
    "the Unix socket that receives a pidfd of the new process",
);
pub(crate) const PID_FILE: Flag =
    Flag::new("pid-file", Value::File("FILE"), "write the process id to FILE");
pub(crate) const NO_PIVOT: Flag = Flag::switch(
    "no-pivot",
    "move the root mount instead of pivot_root(2), for a root file system on a ramdisk",
);
pub(crate) const NO_NEW_KEYRING: Flag = Flag::switch(
    "no-new-keyring",
    "make no session keyring for the container, which then inherits the caller's",
);
pub(crate) const PRESERVE_FDS: Flag = Flag::new(
    "preserve-fds",
    Value::Number("N"),
    "pass N more file descriptors (stdio + $LISTEN_FDS + N in all)",
);
pub(crate) const DETACH: Flag =
    Flag::switch("detach", "return once the process runs, and leave it running").short('d');
pub(crate) const KEEP: Flag = Flag::switch("keep", "keep the container after it has exited");
/// Hidden because it changes nothing: the container's process is this program's own child, so that
/// hoist needs not be the reaper of others, and never is.
pub(crate) const NO_SUBREAPER: Flag =
    Flag::switch("no-subreaper", "don't become the reaper of orphaned processes").hidden();
pub(crate) const TIMINGS: Flag =
    Flag::switch("timings", "after the exit, print what each step took to stderr");

// Options of exec.
pub(crate) const CWD: Flag =
    Flag::new("cwd", Value::Text("DIR"), "the working directory in the container");
pub(crate) const ENV: Flag =
    Flag::new("env", Value::Text("NAME=VALUE"), "set an environment variable")
        .short('e')
        .repeatable();
pub(crate) const TTY: Flag = Flag::switch("tty", "allocate a pseudoterminal").short('t');
pub(crate) const USER: Flag =
    Flag::new("user", Value::Text("UID[:GID]"), "run as this user and group, in numbers")
        .short('u');
pub(crate) const ADDITIONAL_GIDS: Flag =
    Flag::new("additional-gids", Value::Number("GID"), "add a supplementary group")
        .short('g')
        .repeatable();
pub(crate) const PROCESS: Flag = Flag::new(
    "process",
    Value::File("FILE"),
    "take the whole process from a JSON file; other options about it are ignored",
)
.short('p');
pub(crate) const PROCESS_LABEL: Flag =
    Flag::new("process-label", Value::Text("LABEL"), "the SELinux label of the process");
pub(crate) const APPARMOR: Flag =
    Flag::new("apparmor", Value::Text("PROFILE"), "the AppArmor profile of the process");
pub(crate) const NO_NEW_PRIVS: Flag =
    Flag::switch("no-new-privs", "forbid the process to gain privileges");
pub(crate) const CAP: Flag =
    Flag::new("cap", Value::Text("CAP_NAME"), "add a capability").short('c').repeatable();
pub(crate) const CGROUP: Flag = Flag::new(
    "cgroup",
    Value::Text("[CONTROLLER:]PATH"),
    "join an existing cgroup below the container's",
)
.repeatable();
pub(crate) const IGNORE_PAUSED: Flag =
    Flag::switch("ignore-paused", "allow it in a paused container");

// Options of events.
pub(crate) const INTERVAL: Flag = Flag::new(
    "interval",
    Value::Duration("TIME"),
    "the time between statistics, such as 300ms or 1m30s (default: 5s)",
);
pub(crate) const STATS: Flag = Flag::switch("stats", "print the container's statistics, then exit");

// Options of the other commands.
pub(crate) const ALL: Flag =
    Flag::switch("all", "signal every process of the container").short('a').hidden();
pub(crate) const FORCE: Flag =
    Flag::switch("force", "kill the container first if it still runs").short('f');
pub(crate) const FORMAT: Flag =
    Flag::new("format", Value::OneOf("FORMAT", FORMATS), "print a table or json (default: table)")
        .short('f');
pub(crate) const QUIET: Flag = Flag::switch("quiet", "print the ids only").short('q');
pub(crate) const SPEC_ROOTLESS: Flag =
    Flag::switch("rootless", "make a configuration that needs no root");
pub(crate) const PLAN_FORMAT: Flag = Flag::new(
    "format",
    Value::OneOf("FORMAT", &["text", "json"]),
    "print text or json (default: text)",
)
.short('f');

// Options of update.
pub(crate) const RESOURCES: Flag = Flag::new(
    "resources",
    Value::File("FILE"),
    "read the resources as JSON, like linux.resources, from FILE, or from stdin for -; other \
     options are ignored then",
)
.short('r');
pub(crate) const BLKIO_WEIGHT: Flag =
    Flag::new("blkio-weight", Value::Text("WEIGHT"), "share of disk time, from 10 to 1000");
pub(crate) const CPU_PERIOD: Flag =
    Flag::new("cpu-period", Value::Text("US"), "period of the CPU quota in microseconds");
pub(crate) const CPU_QUOTA: Flag = Flag::new(
    "cpu-quota",
    Value::Text("US"),
    "most CPU time in each period in microseconds; -1 for no limit",
);
pub(crate) const CPU_BURST: Flag = Flag::new(
    "cpu-burst",
    Value::Text("US"),
    "unused quota that may be saved for later periods in microseconds",
);
pub(crate) const CPU_SHARE: Flag = Flag::new(
    "cpu-share",
    Value::Text("SHARES"),
    "share of CPU time compared with others, from 2 to 262144",
);
pub(crate) const CPU_RT_PERIOD: Flag =
    Flag::new("cpu-rt-period", Value::Text("US"), "period of the realtime limit in microseconds");
pub(crate) const CPU_RT_RUNTIME: Flag = Flag::new(
    "cpu-rt-runtime",
    Value::Text("US"),
    "most realtime CPU time in each period in microseconds",
);
pub(crate) const CPU_IDLE: Flag = Flag::new(
    "cpu-idle",
    Value::Text("0|1"),
    "1: run only when nothing else wants the CPU (SCHED_IDLE)",
);
pub(crate) const CPUSET_CPUS: Flag =
    Flag::new("cpuset-cpus", Value::Text("LIST"), "CPUs to run on, like 0-3,8");
pub(crate) const CPUSET_MEMS: Flag =
    Flag::new("cpuset-mems", Value::Text("LIST"), "memory nodes to use, like 0-1");
/// Hidden because it changes nothing, as in runc.
pub(crate) const KERNEL_MEMORY: Flag =
    Flag::new("kernel-memory", Value::Text("BYTES"), "(obsolete; ignored)").hidden();
/// Hidden because it changes nothing, as in runc.
pub(crate) const KERNEL_MEMORY_TCP: Flag =
    Flag::new("kernel-memory-tcp", Value::Text("BYTES"), "(obsolete; ignored)").hidden();
pub(crate) const MEMORY: Flag = Flag::new(
    "memory",
    Value::Text("BYTES"),
    "most memory; a unit may follow (512M), -1 for no limit",
);
pub(crate) const MEMORY_RESERVATION: Flag = Flag::new(
    "memory-reservation",
    Value::Text("BYTES"),
    "memory that is left to the container when it is short",
);
pub(crate) const MEMORY_SWAP: Flag = Flag::new(
    "memory-swap",
    Value::Text("BYTES"),
    "most memory and swap together; -1 for no limit of swap",
);
pub(crate) const PIDS_LIMIT: Flag =
    Flag::new("pids-limit", Value::Text("N"), "most processes and threads; -1 for no limit");
pub(crate) const L3_CACHE_SCHEMA: Flag =
    Flag::new("l3-cache-schema", Value::Text("SCHEMA"), "schema of the L3 cache (Intel RDT/CAT)");
pub(crate) const MEM_BW_SCHEMA: Flag = Flag::new(
    "mem-bw-schema",
    Value::Text("SCHEMA"),
    "schema of the memory bandwidth (Intel RDT/MBA)",
);
