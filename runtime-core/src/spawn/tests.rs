//! Conversations with the real init, and with nobody.

use std::os::fd::AsFd;

use hoist_init::wire::{Reg, Step, StrList};

use super::*;

fn spawn(steps: &[Step<'_>]) -> (Conversation, OwnedFd) {
    start(&Plan::of_steps(&[], steps))
}

fn start(plan: &Plan) -> (Conversation, OwnedFd) {
    let image = InitImage::new().unwrap();
    let null =
        rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).unwrap();
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let conversation = Spawn {
        image: &image,
        plan,
        stdio: [null.as_fd(), write.as_fd(), write.as_fd()],
        preserved: &[],
        passed: &[],
    }
    .start()
    .unwrap();
    (conversation, read)
}

#[test]
fn a_program_runs_and_its_output_arrives() {
    let steps = [
        Step::ResetInherited {},
        Step::CloneInner { flags: 0, cgroup: Reg::NONE },
        Step::NewSession {},
        Step::PrepareExecute {
            arguments: StrList::new(b"sh\0-c\0echo $0 $A; ls /proc/self/fd; exit 7\0").unwrap(),
            environment: StrList::new(b"A=b\0").unwrap(),
        },
        Step::FindProgram { name: c"sh", path: c"/nowhere:/bin" },
        Step::CloseFrom { first: 3 },
        Step::Execute {},
    ];
    let (mut conversation, output) = spawn(&steps);
    assert!(matches!(conversation.next().unwrap(), Event::Cloned));
    assert!(matches!(conversation.next().unwrap(), Event::End));
    let snapshot = conversation.report.read().unwrap();
    assert!(snapshot.failure.is_none(), "{snapshot:?}");
    assert!(snapshot.inner);
    assert_eq!(snapshot.step, 6);
    let inner = conversation.take_inner().unwrap();
    let status = rustix::process::waitid(WaitId::PidFd(inner.pidfd.as_fd()), WaitIdOptions::EXITED)
        .unwrap()
        .unwrap();
    assert_eq!(status.exit_status(), Some(7));
    let mut text = [0u8; 256];
    let length = rustix::io::read(&output, &mut text[..]).unwrap();
    // 3 is the directory that ls itself has open.
    assert_eq!(std::str::from_utf8(&text[..length]).unwrap(), "sh b\n0\n1\n2\n3\n");
}

/// A plan that becomes known after outer has begun.
fn in_two_parts(rest: &[Step<'_>]) -> (Plan, Conversation, OwnedFd) {
    let plan = Plan::of_steps(&[Step::ResetInherited {}, Step::TakeRest {}], rest);
    let (conversation, output) = start(&plan);
    (plan, conversation, output)
}

#[test]
fn the_rest_of_a_plan_may_come_later() {
    let mut steps = vec![Step::Umask { mask: 0o022 }; 500];
    steps.extend([
        Step::CloneInner { flags: 0, cgroup: Reg::NONE },
        Step::AttachCgroup { tasks: Reg(0) },
        Step::FindProgram { name: c"no-such-program", path: c"/bin" },
    ]);
    let (plan, mut conversation, output) = in_two_parts(&steps);
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    conversation.pass(&plan, &[write.as_fd()]).unwrap();
    while !matches!(conversation.next().unwrap(), Event::End) {}
    // Steps are counted through both parts, and the page has grown for their times.
    let snapshot = conversation.report.read().unwrap();
    assert_eq!(snapshot.step, 504);
    assert_eq!(snapshot.failure.unwrap().errno, Errno::NOENT);
    assert_eq!(conversation.report.times(505).unwrap().len(), 505);
    // What was passed has arrived in its register.
    let mut text = [0u8; 8];
    assert_eq!(rustix::io::read(&read, &mut text[..]).unwrap(), 1);
    drop(output);
    // Nobody gives it a second rest.
    assert_eq!(conversation.pass(&plan, &[]).unwrap_err().errno(), Some(libc::EPROTO));
    let inner = conversation.take_inner().unwrap();
    let _ = rustix::process::waitid(WaitId::PidFd(inner.pidfd.as_fd()), WaitIdOptions::EXITED);
}

#[test]
fn without_the_rest_outer_ends() {
    let (_, mut conversation, _output) = in_two_parts(&[]);
    assert!(conversation.take_inner().is_none());
    let snapshot = conversation.report.read().unwrap();
    assert_eq!((snapshot.step, snapshot.inner), (1, false));
    assert!(snapshot.failure.is_some());
}

#[test]
fn an_inner_that_nobody_has_read_of_is_found() {
    let (mut conversation, _output) = spawn(&[
        Step::CloneInner { flags: 0, cgroup: Reg::NONE },
        Step::AwaitStart { listener: Reg::NONE, hooks: false, announced: false },
        Step::Execute {},
    ]);
    // A failure of the caller's own, before it has listened.
    let inner = conversation.take_inner().unwrap();
    let status = rustix::process::waitid(WaitId::PidFd(inner.pidfd.as_fd()), WaitIdOptions::EXITED);
    // The conversation's end is its end.
    assert_eq!(status.unwrap().unwrap().exit_status(), Some(1));
    assert!(conversation.take_inner().is_none());
}

#[test]
fn a_failure_names_step_and_errno() {
    let steps = [
        Step::CloneInner { flags: 0, cgroup: Reg::NONE },
        Step::FindProgram { name: c"no-such-program", path: c"/bin" },
        Step::Execute {},
    ];
    let (mut conversation, _output) = spawn(&steps);
    while !matches!(conversation.next().unwrap(), Event::End) {}
    let snapshot = conversation.report.read().unwrap();
    assert_eq!(snapshot.step, 1);
    assert_eq!(snapshot.failure.unwrap().errno, Errno::NOENT);
    let inner = conversation.take_inner().unwrap();
    let _ = rustix::process::waitid(WaitId::PidFd(inner.pidfd.as_fd()), WaitIdOptions::EXITED);
}

/// Inner's successor is the container's process; what it says isn't listened to, for it may be
/// others who say it.
#[test]
fn the_last_has_nothing_to_say() {
    let (mut conversation, _pipe) = spawn(&[
        Step::CloneInner { flags: 0, cgroup: Reg::NONE },
        Step::Announce {},
        Step::CloneLast { drop: 0, terminal: false },
        Step::Announce {},
        Step::FindProgram { name: c"/no/such/program", path: c"" },
    ]);
    assert!(matches!(conversation.next(), Ok(Event::Cloned)));
    let inner = conversation.inner().unwrap().pid;
    assert!(matches!(conversation.next(), Ok(Event::Announced)));
    assert!(matches!(conversation.next(), Ok(Event::End)));
    let snapshot = conversation.report.read().unwrap();
    assert!(snapshot.failure.is_some() && snapshot.step == 4, "{snapshot:?}");
    let last = conversation.take_inner().unwrap();
    assert_ne!(last.pid, inner);
    // Both were the caller's children, and the first is reaped.
    pidfd::wait_end(last.pidfd.as_fd()).unwrap();
    let gone = i32::try_from(inner).ok().and_then(Pid::from_raw).unwrap();
    assert!(rustix::process::test_kill_process(gone).is_err());
}

/// Where inner is followed by another process, what is said before outer has told who inner is may be that
/// process's, which the container can trace.
#[test]
fn who_inner_is_only_outer_says() {
    let (control, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    rustix::net::sockopt::set_socket_passcred(&control, true).unwrap();
    let mut conversation = Conversation {
        control,
        report: Report::new().unwrap(),
        outer: None,
        inner: None,
        last: Last::Expected,
        early: VecDeque::new(),
        unheard: VecDeque::new(),
        untold: None,
        head: None,
    };
    let say = || {
        let message = [MSG_ANNOUNCED.to_le_bytes(), [0; 4]].concat();
        rustix::net::send(&theirs, &message, SendFlags::NOSIGNAL).unwrap();
    };
    let is_silent = |conversation: &mut Conversation| {
        let event = conversation.receive(RecvFlags::DONTWAIT);
        event.is_err_and(|error| error.errno() == Some(libc::EAGAIN))
    };
    let inner = |pid| Some(Inner { pid, pidfd: theirs.try_clone().unwrap() });
    say();
    assert!(is_silent(&mut conversation), "nobody knows who that was");
    conversation.inner = inner(std::process::id());
    assert!(matches!(conversation.receive(RecvFlags::DONTWAIT), Ok(Event::Announced)));
    conversation.inner = inner(1);
    say();
    assert!(is_silent(&mut conversation), "that was somebody else");
    conversation.inner = None;
}

/// An inner that ends before it has cloned anybody was not the container's process.
#[test]
fn without_a_last_there_is_no_process() {
    let (mut conversation, _pipe) = spawn(&[
        Step::CloneInner { flags: 0, cgroup: Reg::NONE },
        Step::FindProgram { name: c"/no/such/program", path: c"" },
        Step::CloneLast { drop: 0, terminal: false },
    ]);
    assert!(matches!(conversation.next(), Ok(Event::Cloned)));
    assert!(matches!(conversation.next(), Ok(Event::End)));
    assert!(conversation.take_inner().is_none());
}
