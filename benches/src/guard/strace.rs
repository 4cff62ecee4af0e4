//! What strace(1) wrote with `-f -o FILE`: how many system calls a program and all that it started
//! have made, up to each execve(2) of something else.

use std::collections::BTreeMap;

/// The calls of one execution of the program, by name.
pub(super) type Calls = BTreeMap<String, u64>;

/// How many calls there are.
pub(super) fn total(calls: &Calls) -> u64 {
    calls.values().sum()
}

/// Counts the calls of each execution of `program`, in their order.
///
/// An execution has the calls of its process, and of the processes that this one started, until they
/// execute something else: from there on it is the user's program. (init is started by execveat(2), which
/// is not an end.) What other processes do doesn't count, such as the shell's that executed `program`.
pub(super) fn executions(log: &str, program: &str) -> Vec<Calls> {
    let mut processes = BTreeMap::<u32, Process>::new();
    let mut executions = 0;
    for line in log.lines() {
        let Some((pid, event)) = event(line) else { continue };
        let process = processes.entry(pid).or_default();
        if let Some(call) = event.call {
            process.call = call.to_owned();
            process.executes_program = call == "execve" && is_execve_of(line, program);
            process.count(call);
        }
        let call = event.call.map_or_else(|| process.call.clone(), str::to_owned);
        match event.result {
            Some(result) if result.will_be_repeated(&call) => process.uncount(&call),
            Some(Outcome(result)) if call == "execve" && result.starts_with('0') => {
                process.ended = !process.executes_program;
                if process.executes_program {
                    *process = Process { root: Some(executions), ..Process::default() };
                    executions += 1;
                }
            }
            Some(Outcome(result)) if CLONES.contains(&call.as_str()) && !process.ended => {
                if let Ok(child) = result.parse::<u32>() {
                    processes.entry(child).or_default().parent = Some(pid);
                }
            }
            _ => {}
        }
    }
    let mut counted = vec![Calls::new(); executions];
    for pid in processes.keys() {
        let root = root(&processes, *pid).and_then(|root| counted.get_mut(root));
        let (Some(calls), Some(process)) = (root, processes.get(pid)) else { continue };
        for (name, number) in &process.calls {
            *calls.entry(name.clone()).or_default() += number;
        }
    }
    counted
}

/// What makes a process, or a thread.
const CLONES: [&str; 4] = ["clone3", "clone", "vfork", "fork"];

#[derive(Debug, Default)]
struct Process {
    /// It is the n-th execution of the program.
    root: Option<usize>,
    parent: Option<u32>,
    calls: Calls,
    /// It executes something else by now.
    ended: bool,
    /// The call that it makes.
    call: String,
    executes_program: bool,
}

impl Process {
    fn count(&mut self, call: &str) {
        // Waits for another thread: how many there are depends on who comes first.
        if !self.ended && call != "futex" {
            *self.calls.entry(call.to_owned()).or_default() += 1;
        }
    }

    fn uncount(&mut self, call: &str) {
        if let Some(number) = self.calls.get_mut(call).filter(|_| !self.ended) {
            *number = number.saturating_sub(1);
        }
    }
}

/// The execution that a process belongs to.
fn root(processes: &BTreeMap<u32, Process>, pid: u32) -> Option<usize> {
    let mut process = processes.get(&pid)?;
    // A process has fewer ancestors than there are processes.
    for _ in 0..processes.len() {
        if process.root.is_some() {
            return process.root;
        }
        process = processes.get(&process.parent?)?;
    }
    None
}

/// A line about a system call: its beginning, its end, or both.
#[derive(Debug, PartialEq, Eq)]
struct Event<'a> {
    /// The call that begins here.
    call: Option<&'a str>,
    /// What the call that ends here returned.
    result: Option<Outcome<'a>>,
}

/// What a call returned, as strace has it: `3`, `-1 ENOENT (No such file or directory)`,
/// `? ERESTARTSYS (To be restarted if SA_RESTART is set)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcome<'a>(&'a str);

impl Outcome<'_> {
    /// Whether it was interrupted and counts when it is made again: by a signal, or, if it is openat2(2)
    /// with RESOLVE_BENEATH or RESOLVE_IN_ROOT, by a rename anywhere on the machine.
    fn will_be_repeated(self, call: &str) -> bool {
        let error = self.0.split_whitespace().nth(1).unwrap_or_default();
        error.starts_with("ERESTART") || error == "EINTR" || error == "EAGAIN" && call == "openat2"
    }
}

/// `PID call(arguments) = result`, `PID call(arguments <unfinished ...>`,
/// `PID <... call resumed>arguments) = result`. Other lines tell of signals and exits.
fn event(line: &str) -> Option<(u32, Event<'_>)> {
    let (pid, rest) = line.split_once(' ')?;
    let pid = pid.parse().ok()?;
    let rest = rest.trim_start();
    let result = match rest.ends_with("<unfinished ...>") {
        true => None,
        false => rest.rsplit_once(" = ").map(|(_, result)| Outcome(result.trim())),
    };
    if rest.starts_with("<... ") {
        return Some((pid, Event { call: None, result }));
    }
    let (call, _) = rest.split_once('(')?;
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    (!call.is_empty() && call.chars().all(is_name))
        .then_some((pid, Event { call: Some(call), result }))
}

fn is_execve_of(line: &str, program: &str) -> bool {
    line.split_once("execve(\"")
        .and_then(|(_, rest)| rest.strip_prefix(program))
        .is_some_and(|rest| rest.starts_with('"'))
}

#[cfg(test)]
mod tests {
    use super::{Calls, executions, total};

    fn calls(expected: &[(&str, u64)]) -> Calls {
        expected.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    }

    fn one(log: &str) -> Calls {
        let mut all = executions(log, "/t/hoist");
        assert_eq!(all.len(), 1, "{all:?}");
        let mut calls = all.remove(0);
        calls.retain(|_, number| *number > 0);
        calls
    }

    const EXECVE: &str =
        "10 execve(\"/t/hoist\", [\"/t/hoist\", \"state\"], 0x7f /* 1 var */) = 0\n";

    #[test]
    fn what_a_program_calls_after_its_own_execve() {
        let log = format!(
            "{EXECVE}10 brk(NULL)                         = 0xa3e8000\n\
             10 openat(AT_FDCWD, \"/a = b\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
             10 --- SIGCHLD {{si_signo=SIGCHLD, si_pid=3}} ---\n\
             10 exit_group(0)                     = ?\n\
             10 +++ exited with 0 +++\n"
        );
        let expected = calls(&[("brk", 1), ("openat", 1), ("exit_group", 1)]);
        assert_eq!(one(&log), expected);
        assert_eq!(total(&expected), 3);
    }

    #[test]
    fn what_it_starts_counts_until_the_execve_of_something_else() {
        // vfork: the child's calls come before the line that says whose child it is.
        let log = format!(
            "{EXECVE}10 clone3({{flags=CLONE_VM|CLONE_VFORK}} <unfinished ...>\n\
             11 dup3(16, 0, 0) = 0\n\
             11 execveat(23, \"\", [\"hoist-init\"], 0x7f /* 0 vars */, AT_EMPTY_PATH <unfinished ...>\n\
             10 <... clone3 resumed> => {{pidfd=[16]}}, 64) = 11\n\
             11 <... execveat resumed>) = 0\n\
             11 clone3({{flags=CLONE_PARENT}}, 88) = 12\n\
             12 setgroups(0, []) = 0\n\
             12 execve(\"/bin/sh\", [\"/bin/sh\"], 0x7f) = -1 ENOENT (No such file or directory)\n\
             12 execve(\"/bin/true\", [\"/bin/true\"], 0x7f /* 3 vars */ <unfinished ...>\n\
             10 close(3) = 0\n\
             12 <... execve resumed>) = 0\n\
             12 brk(NULL) = 0x5731000\n\
             12 fork() = 13\n\
             13 getpid() = 2\n"
        );
        let expected = calls(&[
            ("clone3", 2),
            ("dup3", 1),
            ("execveat", 1),
            ("setgroups", 1),
            ("execve", 2),
            ("close", 1),
        ]);
        assert_eq!(one(&log), expected);
    }

    #[test]
    fn a_call_that_is_made_again_counts_once() {
        let log = format!(
            "{EXECVE}10 poll([{{fd=3}}], 1, -1 <unfinished ...>\n\
             10 <... poll resumed>) = ? ERESTART_RESTARTBLOCK (Interrupted by signal)\n\
             10 --- SIGCHLD {{si_signo=SIGCHLD}} ---\n\
             10 restart_syscall(<... resuming interrupted poll ...>) = 1\n\
             10 openat2(5, \"a\", {{flags=O_PATH}}, 24) = -1 EAGAIN (Resource temporarily unavailable)\n\
             10 openat2(5, \"a\", {{flags=O_PATH}}, 24) = 6\n\
             10 read(6, 0x7f, 8) = -1 EAGAIN (Resource temporarily unavailable)\n\
             10 wait4(-1, 0x7f, 0, NULL) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)\n\
             10 wait4(-1, 0x7f, 0, NULL) = 12\n\
             10 futex(0x7f, FUTEX_WAIT_PRIVATE, 2, NULL) = 0\n"
        );
        let expected = calls(&[("restart_syscall", 1), ("openat2", 1), ("read", 1), ("wait4", 1)]);
        assert_eq!(one(&log), expected);
    }

    #[test]
    fn each_execution_by_itself_and_the_shell_not_at_all() {
        let log = "9 execve(\"/bin/sh\", [\"sh\", \"-c\"], 0x7f) = 0\n\
                   9 brk(NULL) = 0x1\n\
                   9 clone(child_stack=NULL, flags=SIGCHLD) = 10\n\
                   10 getpid() = 10\n\
                   10 execve(\"/t/hoist\", [\"/t/hoist\", \"create\"], 0x7f) = 0\n\
                   10 clone3({flags=0}, 88) = 11\n\
                   10 exit_group(0) = ?\n\
                   9 execve(\"/t/hoist\", [\"/t/hoist\", \"start\"], 0x7f) = 0\n\
                   9 connect(3, {sa_family=AF_UNIX}, 10) = 0\n\
                   11 execve(\"/bin/true\", [\"/bin/true\"], 0x7f) = 0\n\
                   9 exit_group(0) = ?\n";
        assert_eq!(
            executions(log, "/t/hoist"),
            [
                calls(&[("clone3", 1), ("execve", 1), ("exit_group", 1)]),
                calls(&[("connect", 1), ("exit_group", 1)]),
            ]
        );
    }

    #[test]
    fn a_log_without_the_program() {
        assert!(executions("", "/t/hoist").is_empty());
        assert!(executions("strace: exec: No such file or directory\n", "/t/hoist").is_empty());
        // The program's name is only the beginning of this one.
        assert!(executions("9 execve(\"/t/hoist2\", [], 0x7f) = 0\n", "/t/hoist").is_empty());
    }
}
