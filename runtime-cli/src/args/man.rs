//! Manual pages, in roff.

use std::fmt::Write as _;

use super::{Command, Flag, Program, visible};

/// Every page: its file name and its text.
pub(crate) fn pages(program: &'static Program) -> Vec<(String, String)> {
    let mut pages = vec![(format!("{}.8", program.name), program_page(program))];
    for command in documented(program) {
        let file = format!("{}-{}.8", program.name, command.name);
        pages.push((file, command_page(program, command)));
    }
    pages
}

/// `help` is described on the program's own page.
fn documented(program: &'static Program) -> impl Iterator<Item = &'static Command> {
    program.visible_commands().filter(|command| command.name != "help")
}

fn program_page(program: &'static Program) -> String {
    let name = program.name;
    let mut out = title(program, name, program.summary);
    section(&mut out, "SYNOPSIS");
    let _ = writeln!(
        out,
        "\\fB{name}\\fR [\\fIglobal-option\\fR ...] \\fIcommand\\fR [\\fIoption\\fR ...] \
         [\\fIargument\\fR ...]"
    );
    section(&mut out, "DESCRIPTION");
    prose(&mut out, program.description);
    section(&mut out, "COMMANDS");
    for command in program.visible_commands() {
        let alias = command.alias.map(|alias| format!(", \\fB{alias}\\fR")).unwrap_or_default();
        let summary = escape(command.summary);
        let _ = write!(out, ".TP\n\\fB{}\\fR{alias}\n{summary}", command.name);
        if command.name == "help" {
            out.push_str(".\n");
        } else {
            let _ = writeln!(out, ". See \\fB{name}\\-{}\\fR(8).", command.name);
        }
    }
    section(&mut out, "GLOBAL OPTIONS");
    out.push_str("These options stand before the command.\n");
    options(&mut out, program.flags);
    section(&mut out, "EXIT STATUS");
    prose(
        &mut out,
        "0 on success and 1 on an error. run and exec have the exit code of the container's \
         process, or 128 and the number of the signal that ended it; exec has 255 if the process \
         could not be started.",
    );
    let pages: Vec<_> = documented(program).map(|command| Some(command.name)).collect();
    see_also(&mut out, name, &pages);
    out
}

fn command_page(program: &'static Program, command: &'static Command) -> String {
    let mut out = title(program, &format!("{}-{}", program.name, command.name), command.summary);
    section(&mut out, "SYNOPSIS");
    let _ = writeln!(
        out,
        "\\fB{} {}\\fR [\\fIoption\\fR ...] {}",
        program.name,
        command.name,
        escape(command.operands)
    );
    section(&mut out, "DESCRIPTION");
    prose(&mut out, command.description);
    section(&mut out, "OPTIONS");
    options(&mut out, command.flags);
    see_also(&mut out, program.name, &[None]);
    out
}

fn title(program: &'static Program, page: &str, summary: &str) -> String {
    format!(
        ".TH \"{}\" \"8\" \"\" \"{} {}\" \"System Manager's Manual\"\n.SH NAME\n{} \\- {}\n",
        escape(&page.to_uppercase()),
        program.name,
        program.version,
        escape(page),
        escape(summary)
    )
}

fn section(out: &mut String, name: &str) {
    let _ = writeln!(out, ".SH {name}");
}

/// Paragraphs; indented lines are examples and stay as they are.
fn prose(out: &mut String, text: &str) {
    let mut example = false;
    for line in text.lines() {
        let indented = line.starts_with("    ");
        if indented != example && !line.is_empty() {
            out.push_str(if indented { ".RS 4\n.nf\n" } else { ".fi\n.RE\n" });
            example = indented;
        }
        match line {
            "" => out.push_str(".PP\n"),
            line => {
                let _ = writeln!(out, "{}", escape(line.trim_start()));
            }
        }
    }
    if example {
        out.push_str(".fi\n.RE\n");
    }
}

fn options(out: &mut String, flags: &'static [Flag]) {
    for flag in visible(flags) {
        let value = match flag.value.placeholder() {
            Some(value) => format!(" \\fI{}\\fR", escape(value)),
            None => String::new(),
        };
        let short = match flag.short {
            Some(short) => format!(", \\fB\\-{short}\\fR{value}"),
            None => String::new(),
        };
        let again = if flag.repeatable { " Can be given several times." } else { "" };
        let _ = writeln!(
            out,
            ".TP\n\\fB\\-\\-{}\\fR{value}{short}\n{}.{again}",
            escape(flag.name),
            escape(flag.help)
        );
    }
}

/// The program's page (`None`) and those of commands.
fn see_also(out: &mut String, program: &str, commands: &[Option<&str>]) {
    section(out, "SEE ALSO");
    for (index, command) in commands.iter().enumerate() {
        let comma = if index + 1 < commands.len() { "," } else { "" };
        let _ = match command {
            Some(command) => writeln!(out, ".BR {program}\\-{command} (8){comma}"),
            None => writeln!(out, ".BR {program} (8){comma}"),
        };
    }
}

/// Text that roff would read as a request or an escape.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::PROGRAM;

    #[test]
    fn every_shown_command_has_a_page() {
        let pages = pages(&PROGRAM);
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"hoist.8"));
        assert!(names.contains(&"hoist-run.8"));
        assert!(!names.contains(&"hoist-checkpoint.8"), "not supported, so not advertised");
        assert!(!names.contains(&"hoist-completion.8"), "hidden");
        for (name, page) in &pages {
            assert!(page.starts_with(".TH \"HOIST"), "{name}");
            assert!(page.is_ascii(), "{name}");
            assert_eq!(page.matches(".nf\n").count(), page.matches(".fi\n").count(), "{name}");
        }
    }

    #[test]
    fn requests_in_text_are_defused() {
        assert_eq!(escape(".so /etc/passwd"), "\\&.so /etc/passwd");
        assert_eq!(escape("'a"), "\\&'a");
        assert_eq!(escape("a\\b --c"), "a\\eb \\-\\-c");
    }

    #[test]
    fn groff_has_no_complaints() {
        let Ok(probe) = std::process::Command::new("groff").arg("--version").output() else {
            println!("SKIP: groff is not installed");
            return;
        };
        assert!(probe.status.success());
        let directory = std::env::temp_dir().join(format!("hoist-man-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for (name, page) in pages(&PROGRAM) {
            let file = directory.join(&name);
            std::fs::write(&file, page).unwrap();
            let run = std::process::Command::new("groff")
                .args(["-man", "-Tascii", "-ww", "-z"])
                .arg(&file)
                .output()
                .unwrap();
            assert!(run.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
