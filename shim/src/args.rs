//! The command line, as containerd gives it: in the manner of Go's package `flag`.
//!
//! A name has one dash or two, its value follows after `=` or as the next argument, and the first
//! argument that is no flag ends them. An unknown flag is an error, as it is to Go's shims.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::failure::{Code, Failure, Result};

/// What the shim is executed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    /// `start`: make sure that a shim serves the container, and print its address.
    Start,
    /// `delete`: remove what a shim left behind.
    Delete,
    /// `-info`: describe the runtime.
    Info,
    Version,
    Help,
    /// No action: be the shim.
    #[default]
    Serve,
}

/// The command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) action: Action,
    /// containerd's namespace, which has nothing to do with the kernel's.
    pub(crate) namespace: String,
    /// The container's.
    pub(crate) id: String,
    /// Of containerd's gRPC socket.
    pub(crate) address: String,
    /// Where the container's bundle is, if not in the working directory.
    pub(crate) bundle: Option<PathBuf>,
    /// Where to listen, if not at an inherited socket.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) debug: bool,
}

#[derive(Clone, Copy)]
enum Flag {
    Namespace,
    Id,
    Address,
    Bundle,
    Socket,
    Debug,
    Info,
    Version,
    Help,
    /// Taken and not needed: events go to the address in `TTRPC_ADDRESS` since containerd 1.3, and
    /// there is no Go to debug.
    Ignored,
}

impl Flag {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"namespace" => Self::Namespace,
            b"id" => Self::Id,
            b"address" => Self::Address,
            b"bundle" => Self::Bundle,
            b"socket" => Self::Socket,
            b"publish-binary" | b"debug-socket" => Self::Ignored,
            b"debug" => Self::Debug,
            b"info" => Self::Info,
            b"v" | b"version" => Self::Version,
            b"h" | b"help" => Self::Help,
            _ => return None,
        })
    }

    /// One that takes no argument of its own, though `-debug=false` is possible.
    fn is_switch(self) -> bool {
        matches!(self, Self::Debug | Self::Info | Self::Version | Self::Help)
    }
}

impl Args {
    /// Reads what follows the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut arguments = arguments.into_iter().map(OsString::into_encoded_bytes);
        let mut args = Self::default();
        let (mut info, mut version, mut help) = (false, false, false);
        let operand = loop {
            let Some(argument) = arguments.next() else { break None };
            // A single dash is no flag, and two of them end the flags.
            let Some(flag) = argument.strip_prefix(b"-").filter(|flag| !flag.is_empty()) else {
                break Some(argument);
            };
            if flag == b"-" {
                break arguments.next();
            }
            let flag = flag.strip_prefix(b"-").unwrap_or(flag);
            let equals = flag.iter().position(|byte| *byte == b'=');
            let (name, value) = match equals.and_then(|at| flag.split_at_checked(at)) {
                Some((name, value)) => (name, value.get(1..)),
                None => (flag, None),
            };
            let text = String::from_utf8_lossy(name);
            let kind = Flag::named(name)
                .ok_or_else(|| refuse(format!("flag provided but not defined: -{text}")))?;
            if kind.is_switch() {
                let on = value.map_or(Ok(true), |value| boolean(&text, value))?;
                match kind {
                    Flag::Debug => args.debug = on,
                    Flag::Info => info = on,
                    Flag::Version => version = on,
                    _ => help = on,
                }
                continue;
            }
            let value = match value {
                Some(value) => value.to_owned(),
                None => arguments
                    .next()
                    .ok_or_else(|| refuse(format!("flag needs an argument: -{text}")))?,
            };
            match kind {
                Flag::Namespace => args.namespace = string(&text, value)?,
                Flag::Id => args.id = string(&text, value)?,
                Flag::Address => args.address = string(&text, value)?,
                Flag::Bundle => args.bundle = path(&text, value)?,
                Flag::Socket => args.socket = path(&text, value)?,
                _ => {}
            }
        };
        args.action = match operand {
            _ if help => Action::Help,
            _ if version => Action::Version,
            _ if info => Action::Info,
            Some(action) => Action::named(&action)?,
            None => Action::Serve,
        };
        args.check()
    }

    fn check(self) -> Result<Self> {
        if matches!(self.action, Action::Help | Action::Version | Action::Info) {
            return Ok(self);
        }
        check_name("namespace", &self.namespace)?;
        check_name("id", &self.id)?;
        Ok(self)
    }
}

impl Action {
    fn named(name: &[u8]) -> Result<Self> {
        match name {
            b"start" => Ok(Self::Start),
            b"delete" => Ok(Self::Delete),
            other => Err(refuse(format!(
                "unknown action {:?}: it is start, delete, or none for the shim itself",
                String::from_utf8_lossy(other)
            ))),
        }
    }
}

/// Namespaces and ids become names of directories. containerd allows less than what passes here.
fn check_name(what: &str, name: &str) -> Result<()> {
    match name {
        "" => Err(refuse(format!("the shim's {what} cannot be empty"))),
        _ if !is_name(name) => Err(refuse(format!("{name:?} is no {what}"))),
        _ => Ok(()),
    }
}

/// Whether `name` can be one part of a path.
pub(crate) fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// As Go's strconv.ParseBool.
fn boolean(flag: &str, value: &[u8]) -> Result<bool> {
    match value {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Ok(true),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Ok(false),
        _ => Err(refuse(format!(
            "invalid boolean value {:?} for -{flag}",
            String::from_utf8_lossy(value)
        ))),
    }
}

fn string(flag: &str, value: Vec<u8>) -> Result<String> {
    String::from_utf8(value).map_err(|_| refuse(format!("the value of -{flag} is not UTF-8")))
}

/// No path is the same as an empty one, which containerd gives for its defaults.
fn path(flag: &str, value: Vec<u8>) -> Result<Option<PathBuf>> {
    Ok(Some(string(flag, value)?).filter(|path| !path.is_empty()).map(PathBuf::from))
}

fn refuse(message: String) -> Failure {
    Failure::new(Code::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Args> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    fn message(line: &str) -> String {
        parse(line).unwrap_err().message
    }

    #[test]
    fn start_as_containerd_calls_it() {
        let args = parse(
            "-namespace k8s.io -address /run/containerd/containerd.sock -publish-binary \
             /usr/bin/containerd -id 0123 -debug start",
        )
        .unwrap();
        let expected = Args {
            action: Action::Start,
            namespace: "k8s.io".to_owned(),
            id: "0123".to_owned(),
            address: "/run/containerd/containerd.sock".to_owned(),
            debug: true,
            ..Args::default()
        };
        assert_eq!(args, expected);
    }

    #[test]
    fn delete_as_containerd_calls_it() {
        let args =
            parse("-namespace moby -address a -publish-binary b -id c -bundle /run/d delete")
                .unwrap();
        assert_eq!(args.action, Action::Delete);
        assert_eq!(args.bundle, Some(PathBuf::from("/run/d")));
        assert!(!args.debug);
    }

    #[test]
    fn flags_in_the_manner_of_go() {
        let expected = parse("-namespace n -id i -debug").unwrap();
        assert_eq!(expected.action, Action::Serve);
        for line in [
            "--namespace=n --id=i --debug=true",
            "-namespace=n -id=i -debug=1",
            "-id x -namespace n -id i -debug -publish-binary= -debug-socket s",
            "-id i -namespace n -debug --",
            "-id i -namespace n -debug -bundle=",
        ] {
            assert_eq!(parse(line).unwrap(), expected, "{line}");
        }
        assert!(!parse("-namespace n -id i -debug=F").unwrap().debug);
        // What follows the action belongs to nobody.
        assert_eq!(parse("-namespace n -id i start -what").unwrap().action, Action::Start);
        // A value may look like a flag, and contain an equals sign.
        assert_eq!(parse("-namespace n -id -id").unwrap().id, "-id");
        assert_eq!(parse("-namespace=a=b -id i").unwrap().namespace, "a=b");
        assert_eq!(parse("-namespace n -id i -socket /s").unwrap().socket, Some("/s".into()));
    }

    #[test]
    fn questions_need_nothing_else() {
        for (line, action) in [
            ("-v", Action::Version),
            ("--version", Action::Version),
            ("-info", Action::Info),
            ("-h", Action::Help),
            ("-info -help", Action::Help),
            ("-info -v start", Action::Version),
        ] {
            assert_eq!(parse(line).unwrap().action, action, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("-frob", "flag provided but not defined: -frob"),
            ("--frob=1 start", "flag provided but not defined: -frob"),
            ("-namespace n -id", "flag needs an argument: -id"),
            ("-debug=maybe", "invalid boolean value \"maybe\" for -debug"),
            ("", "the shim's namespace cannot be empty"),
            ("-namespace n start", "the shim's id cannot be empty"),
            ("-namespace .. -id i", "\"..\" is no namespace"),
            ("-namespace n -id ../i", "\"../i\" is no id"),
            (
                "-namespace n -id i restart",
                "unknown action \"restart\": it is start, delete, or none for the shim itself",
            ),
            (
                "-namespace n -id i -",
                "unknown action \"-\": it is start, delete, or none for the shim itself",
            ),
        ] {
            assert_eq!(message(line), expected, "{line}");
        }
        let garbage = [OsString::from("-id"), OsString::from_vec(vec![0xff])];
        assert_eq!(Args::parse(garbage).unwrap_err().message, "the value of -id is not UTF-8");
    }

    proptest! {
        #[test]
        fn no_command_line_panics(
            arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..8)
        ) {
            let _ = Args::parse(arguments.into_iter().map(OsString::from_vec));
        }

        #[test]
        fn values_come_through(id in "[a-z0-9][a-z0-9_.-]{0,20}", dashes in 1..3_usize) {
            let flag = OsString::from(format!("{}id={id}", "-".repeat(dashes)));
            let args = Args::parse([flag, "-namespace".into(), "n".into(), "delete".into()]);
            let args = args.unwrap();
            prop_assert_eq!(args.id, id);
            prop_assert_eq!(args.action, Action::Delete);
        }
    }
}
