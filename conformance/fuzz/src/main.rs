//! `hoist-fuzz`: what is fuzzed of hoist, by name; one input once more; a campaign with libFuzzer.

mod campaign;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use campaign::Campaign;
use hoist_fuzz::{TARGETS, Target};

const HELP: &str = "\
hoist-fuzz list                         the targets
hoist-fuzz try TARGET FILE…             runs inputs once more, without a fuzzer
hoist-fuzz plans CONFIG.JSON DIRECTORY  writes the plans for a configuration: seeds for the target wire
hoist-fuzz run [--time SECONDS] [--record FILE] [TARGET…]
                                        fuzzes for so long each (60 s), by libFuzzer; --record adds what was
                                        done to the sums in a file
";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "hoist-fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[OsString]) -> io::Result<ExitCode> {
    let mut words = args.iter().map(|arg| arg.to_str());
    match words.next().flatten() {
        Some("list") => TARGETS.iter().try_for_each(|target| say(target.name))?,
        Some("try") => {
            let target = named(words.next().flatten().unwrap_or_default())?;
            for file in args.get(2..).unwrap_or_default() {
                // What is wrong says so by a panic, behind this line.
                say(&format!("{} {}", target.name, Path::new(file).display()))?;
                (target.run)(&read(Path::new(file))?);
            }
        }
        Some("plans") => match args.get(1..) {
            Some([config, directory]) => plans(Path::new(config), Path::new(directory))?,
            _ => return Err(io::Error::other(HELP)),
        },
        Some("run") => return fuzz(args.get(1..).unwrap_or_default()),
        _ => return Err(io::Error::other(HELP)),
    }
    Ok(ExitCode::SUCCESS)
}

fn fuzz(args: &[OsString]) -> io::Result<ExitCode> {
    let (mut targets, mut seconds, mut record) = (Vec::new(), 60, None);
    let mut args = args.iter();
    let bad = || io::Error::other(HELP);
    while let Some(arg) = args.next() {
        match arg.to_str().unwrap_or_default() {
            "--time" => {
                let time = args.next().and_then(|time| time.to_str()?.parse().ok());
                seconds = time.ok_or_else(bad)?;
            }
            "--record" => record = Some(PathBuf::from(args.next().ok_or_else(bad)?)),
            name => targets.push(named(name)?),
        }
    }
    if targets.is_empty() {
        targets.extend(&TARGETS);
    }
    let sound = Campaign::new(seconds)?.run(&targets, record.as_deref())?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn named(name: &str) -> io::Result<&'static Target> {
    hoist_fuzz::target(name)
        .ok_or_else(|| io::Error::other(format!("no target {name:?}: `hoist-fuzz list`")))
}

fn plans(config: &Path, directory: &Path) -> io::Result<()> {
    let name = config.file_stem().unwrap_or_default().to_string_lossy();
    for (index, plan) in hoist::fuzz::plans(&read(config)?).iter().enumerate() {
        std::fs::write(directory.join(format!("{name}-{index}")), plan)?;
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    std::fs::read(path).map_err(named)
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
