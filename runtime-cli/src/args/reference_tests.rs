//! What is rendered from the table: help and completions.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{bash, fish, help, zsh};
use crate::table::PROGRAM;

/// Gives `script` to a shell that only reads it; its complaints, or `None` without that shell.
fn checked(shell: &str, script: &str) -> Option<String> {
    let mut child = Command::new(shell)
        .arg("-n")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn completions_are_valid_scripts() {
    let scripts = [
        ("bash", bash::script(&PROGRAM)),
        ("zsh", zsh::script(&PROGRAM)),
        ("fish", fish::script(&PROGRAM)),
    ];
    for (shell, script) in scripts {
        match checked(shell, &script) {
            None => println!("SKIP: {shell} is not installed"),
            Some(complaints) => assert_eq!(complaints, "", "{shell}:\n{script}"),
        }
        for hidden in ["checkpoint", "restore", "criu"] {
            assert!(!script.contains(hidden), "{shell} offers {hidden}");
        }
    }
}

/// What bash offers for the last word of `line`.
fn bash_offers(line: &str) -> Vec<String> {
    let words: Vec<_> = line.split(' ').map(|word| format!("'{word}'")).collect();
    let script = format!(
        "hoist() {{ printf '%s\\n' \"ids $*\" >&2; echo alpha beta; }}\n{}\n\
         COMP_WORDS=({}) COMP_CWORD={}\n_hoist 2>/dev/null\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        bash::script(&PROGRAM),
        words.join(" "),
        words.len() - 1
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_offers_what_fits() {
    if Command::new("bash").arg("--version").output().is_err() {
        println!("SKIP: bash is not installed");
        return;
    }
    assert_eq!(bash_offers("hoist sta"), ["start", "state"]);
    assert_eq!(bash_offers("hoist --root /x sta"), ["start", "state"]);
    assert_eq!(bash_offers("hoist --log-f"), ["--log-format"]);
    assert_eq!(bash_offers("hoist --log-format "), ["text", "json"]);
    assert_eq!(bash_offers("hoist run --k"), ["--keep"]);
    assert_eq!(bash_offers("hoist state a"), ["alpha"]);
    assert_eq!(bash_offers("hoist state alpha "), [""; 0]);
    assert_eq!(bash_offers("hoist list -f j"), ["json"]);
    assert_eq!(bash_offers("hoist exec --user 0 b"), ["beta"]);
}

#[test]
fn help_is_laid_out_as_runc_s() {
    let text = help::program("hoist", &PROGRAM);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "NAME:");
    assert_eq!(lines[1], "   hoist - Open Container Initiative runtime");
    assert!(!text.contains("checkpoint") && !text.contains("criu") && !text.contains("completion"));
    for command in PROGRAM.commands {
        let text = help::command("hoist", command);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], format!("   hoist {} - {}", command.name, command.summary));
    }
    let kill = PROGRAM.command("kill").unwrap();
    assert_eq!(help::command("hoist", kill), KILL_HELP);
}

const KILL_HELP: &str = "\
NAME:
   hoist kill - send a signal to a container (default: TERM)

USAGE:
   hoist kill [command options] <container-id> [signal]

DESCRIPTION:
   Sends a signal to the container's first process: TERM unless another is given by
   name, with or without SIG, or by number.

   To send KILL to the container ubuntu01:

       # hoist kill ubuntu01 KILL

OPTIONS:
   --help, -h  show help
";
