use std::path::Path;

use super::*;
use crate::table::{PROGRAM, flags::*};

fn line(text: &str) -> Result<Parsed, UsageError> {
    parse(&PROGRAM, text.split_whitespace().map(OsString::from))
}

/// The command's name, the options before and after it, and the operands.
fn run(text: &str) -> (&'static str, Values, Values, Vec<String>) {
    match line(text) {
        Ok(Parsed::Run { command, globals, values, operands }) => {
            let operands = operands.into_iter().map(|text| text.into_string().unwrap()).collect();
            (command.name, globals, values, operands)
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str) -> String {
    match line(text) {
        Err(error) => error.message,
        Ok(parsed) => panic!("{text}: {parsed:?}"),
    }
}

#[test]
fn options_stand_before_and_after_the_id() {
    for text in [
        "create --bundle /b --pid-file=p id",
        "create id --bundle /b --pid-file p",
        "create --bundle /b id --pid-file p",
        "create -b /b id --pid-file p",
        "create -b=/b id --pid-file p",
        "create id -b/b --pid-file p",
        "create -bundle /b -pid-file=p id",
        "create id -bundle=/b -pid-file p",
        "create --bundle /a --bundle /b --pid-file p -- id",
    ] {
        let (command, _, values, operands) = run(text);
        assert_eq!(command, "create", "{text}");
        assert_eq!(values.path(&BUNDLE), Some(Path::new("/b")), "{text}");
        assert_eq!(values.path(&PID_FILE), Some(Path::new("p")), "{text}");
        assert_eq!(operands, ["id"], "{text}");
    }
}

#[test]
fn switches_take_go_s_booleans() {
    for (text, expected) in [
        ("run -d id", Some(true)),
        ("run id --detach", Some(true)),
        ("run --detach=true id", Some(true)),
        ("run -detach=1 id", Some(true)),
        ("run -d=T id", Some(true)),
        ("run -d --detach=false id", Some(false)),
        ("run --detach=0 id", Some(false)),
        ("run id", None),
    ] {
        assert_eq!(run(text).2.switch(&DETACH), expected, "{text}");
    }
    assert!(refused("run --detach=maybe id").contains("invalid value \"maybe\" for flag --detach"));
    let (_, _, values, operands) = run("exec -td id true");
    assert!(values.is_on(&TTY) && values.is_on(&DETACH));
    assert_eq!(operands, ["id", "true"]);
}

#[test]
fn global_options_precede_the_command() {
    let (command, globals, values, _) = run("--root /r --debug --log l --log-format json state id");
    assert_eq!(command, "state");
    assert_eq!(globals.path(&ROOT), Some(Path::new("/r")));
    assert_eq!(globals.path(&LOG), Some(Path::new("l")));
    assert_eq!(globals.text(&LOG_FORMAT), Some("json"));
    assert!(globals.is_on(&DEBUG));
    assert!(!values.is_set(&ROOT));
    assert!(refused("state --root /r id").contains("not defined: --root"));
    // The same name means another thing behind spec.
    let (_, globals, values, _) = run("--rootless=true spec --rootless");
    assert_eq!(globals.text(&ROOTLESS), Some("true"));
    assert!(values.is_on(&SPEC_ROOTLESS));
}

#[test]
fn behind_the_id_of_exec_everything_is_the_program_s() {
    let (_, _, values, operands) =
        run("exec -e A=B --env=C=D -e E= --user 1:2 -g 5 -g 6 -c CAP_A --tty id sh -c -t --user x");
    assert_eq!(values.texts(&ENV).collect::<Vec<_>>(), ["A=B", "C=D", "E="]);
    assert_eq!(values.text(&USER), Some("1:2"));
    assert_eq!(values.numbers(&ADDITIONAL_GIDS).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(values.texts(&CAP).collect::<Vec<_>>(), ["CAP_A"]);
    assert!(values.is_on(&TTY));
    assert_eq!(operands, ["id", "sh", "-c", "-t", "--user", "x"]);
    assert_eq!(run("exec -- id --help").3, ["id", "--help"]);
    assert_eq!(run("exec id -- ls").3, ["id", "--", "ls"]);
    assert_eq!(run("exec --cap=CAP_A id x").2.texts(&CAP).next(), Some("CAP_A"));
    assert_eq!(run("ps -f json id -e -x").3, ["id", "-e", "-x"]);
}

#[test]
fn a_value_may_look_like_an_option() {
    let (_, _, values, operands) = run("exec --cwd --tty id true");
    assert_eq!(values.text(&CWD), Some("--tty"));
    assert!(!values.is_set(&TTY));
    assert_eq!(operands, ["id", "true"]);
    assert_eq!(run("exec -e -b=1 id x").2.texts(&ENV).next(), Some("-b=1"));
    assert_eq!(run("create -- -b").3, ["-b"]);
}

#[test]
fn every_other_command() {
    assert_eq!(run("start id").0, "start");
    assert_eq!(run("state id").0, "state");
    assert_eq!(run("kill id").3, ["id"]);
    assert_eq!(run("kill id KILL").3, ["id", "KILL"]);
    assert_eq!(run("kill id 9 --all").3, ["id", "9"]);
    assert!(run("kill -a id 0").2.is_on(&ALL));
    assert!(run("delete id --force").2.is_on(&FORCE));
    assert!(run("delete -f id").2.is_on(&FORCE));
    assert!(run("list -q").2.is_on(&QUIET));
    assert_eq!(run("list -f json").2.text(&FORMAT), Some("json"));
    assert_eq!(run("spec -b x").2.path(&BUNDLE), Some(Path::new("x")));
    assert_eq!(run("features").0, "features");
    assert_eq!(run("plan x --format json").2.text(&PLAN_FORMAT), Some("json"));
    assert_eq!(run("run --keep --timings --no-subreaper id").3, ["id"]);
    assert_eq!(run("run --preserve-fds=2 id").2.number(&PRESERVE_FDS), Some(2));
    assert_eq!(run("events --interval 100ms id").2.duration(&INTERVAL), Some(100_000_000));
    assert_eq!(run("events id --stats --interval=-1s").2.duration(&INTERVAL), Some(-1_000_000_000));
    assert_eq!(run("completion bash").3, ["bash"]);
    assert_eq!(run("help run").3, ["run"]);
    assert_eq!(run("h").0, "help");
}

#[test]
fn what_is_missing_takes_anything_but_help() {
    for name in ["checkpoint", "restore"] {
        assert_eq!(run(name).0, name);
        assert_eq!(run(&format!("{name} --memory 5 id -x")).3, ["--memory", "5", "id", "-x"]);
        let help = line(&format!("{name} -h")).unwrap();
        assert!(matches!(help, Parsed::Help(Some(command)) if command.name == name));
    }
}

#[test]
fn help_and_version() {
    for text in ["", "--help", "-h", "-help", "--help run id"] {
        assert!(matches!(line(text), Ok(Parsed::Help(None))), "{text}");
    }
    for text in ["run --help", "run -h", "run id -h", "run -d --help a b c"] {
        assert!(
            matches!(line(text), Ok(Parsed::Help(Some(command))) if command.name == "run"),
            "{text}"
        );
    }
    for text in ["--version", "-v", "--debug --version"] {
        assert!(matches!(line(text), Ok(Parsed::Version)), "{text}");
    }
}

#[test]
fn mistakes_are_named_as_runc_does() {
    let unknown = line("foo -h").unwrap_err();
    assert_eq!(unknown.message, "No help topic for 'foo'");
    assert_eq!(unknown.exit_code, 3);
    assert_eq!(refused("craete id"), "No help topic for 'craete'; did you mean 'create'?");
    assert_eq!(
        refused("create --bundel x id"),
        "flag provided but not defined: --bundel; did you mean --bundle? \
         (see 'hoist create --help')"
    );
    assert_eq!(
        refused("--frobnicate state id"),
        "flag provided but not defined: --frobnicate (see 'hoist --help')"
    );
    assert!(refused("create id --bundle").starts_with("flag needs an argument: --bundle"));
    assert!(refused("state").starts_with("\"state\" requires exactly 1 argument(s)"));
    assert!(refused("state a b").starts_with("\"state\" requires exactly 1 argument(s)"));
    assert!(refused("kill").starts_with("\"kill\" requires a minimum of 1 argument(s)"));
    assert!(refused("kill a b c").starts_with("\"kill\" requires a maximum of 2 argument(s)"));
    assert!(refused("run --preserve-fds=-1 id").contains("not a number"));
    assert!(refused("exec -g +5 id x").contains("not a number"));
    assert!(refused("--log-format xml list").contains("not one of text, json"));
}

#[test]
fn the_table_is_consistent() {
    let mut all = vec![("", PROGRAM.flags)];
    all.extend(PROGRAM.commands.iter().map(|command| (command.name, command.flags)));
    for (name, flags) in all {
        for (index, flag) in flags.iter().enumerate() {
            assert!(flag.help.is_ascii() && !flag.help.ends_with('.'), "{name} {}", flag.name);
            for other in &flags[index + 1..] {
                assert_ne!(flag.name, other.name, "{name}");
                assert!(flag.short.is_none() || flag.short != other.short, "{name} {}", flag.name);
            }
        }
        assert!(flags.iter().any(|flag| flag.name == "help"), "{name}");
    }
    let mut names: Vec<_> = PROGRAM.commands.iter().map(|command| command.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), PROGRAM.commands.len());
}

proptest::proptest! {
    /// Whatever is given, there is an answer, and operands of exec come out as they went in.
    #[test]
    fn any_line_is_parsed_or_refused(words in proptest::collection::vec("[-=a-z ]{0,8}", 0..8)) {
        let words = words.into_iter().map(OsString::from);
        let _ = parse(&PROGRAM, words.clone());
        let given = ["exec", "id"].map(OsString::from).into_iter().chain(words.clone());
        match parse(&PROGRAM, given) {
            Ok(Parsed::Run { operands, .. }) => {
                assert_eq!(operands.split_first().unwrap().1, words.collect::<Vec<_>>());
            }
            other => panic!("{other:?}"),
        }
    }
}
