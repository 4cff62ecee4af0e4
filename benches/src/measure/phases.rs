//! Where the time of a `run` goes, as hoist and the floor clock it themselves.

use std::fs;

use crate::bundles::Config;
use crate::command;
use crate::failure::{Context, Failure, Result};
use crate::floor;
use crate::job::Peer;
use crate::results::Phases;

use super::arena::{Arena, text};
use super::field::{Field, Samples};

pub(crate) fn run(arena: &Arena) -> Result<Vec<Phases>> {
    let clocked = |peer: &&Peer| peer.is_floor() || peer.name == "hoist";
    let mut all = Vec::new();
    for config in Config::ALL {
        let mut names: Vec<(String, String)> = Vec::new();
        let mut samples = Samples::default();
        let mut field = Field::new(arena, arena.all().filter(clocked));
        for _ in 0..arena.effort().phases {
            field.round(|peer| {
                for (phase, time) in once(arena, peer, config)? {
                    samples.add(&phase, &peer.name, time);
                    let name = (peer.name.clone(), phase);
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                Ok(())
            })?;
        }
        for peer in arena.all().filter(clocked) {
            let of_peer = names.iter().filter(|(name, _)| *name == peer.name);
            let median = |(name, phase): &(String, String)| {
                Some((phase.clone(), samples.median(phase, name)?))
            };
            let phases: Vec<_> = of_peer.filter_map(median).collect();
            if !phases.is_empty() {
                all.push(Phases {
                    runtime: peer.name.clone(),
                    bundle: config.name().to_owned(),
                    environment: arena.view().name().to_owned(),
                    phases,
                });
            }
        }
    }
    Ok(all)
}

/// The phases of one run, in µs.
fn once(arena: &Arena, peer: &Peer, config: Config) -> Result<Vec<(String, f64)>> {
    let path = arena.errors();
    let file = fs::File::create(&path).context(path.display())?;
    if peer.is_floor() {
        command::succeed(arena.floor(peer, config, true)?.stdout(file))?;
    } else {
        let bundle = arena.bundles().once(config);
        let arguments = ["run", "--timings", "--bundle", text(&bundle)?, &arena.id()];
        command::succeed(arena.command(peer, &arguments).stderr(file))?;
    }
    let told = fs::read_to_string(&path).context(path.display())?;
    Ok(summed(if peer.is_floor() { floor::phases(&told) } else { of_hoist(&told)? }))
}

/// What has the same name is one phase.
fn summed(rows: Vec<(String, f64)>) -> Vec<(String, f64)> {
    let mut phases: Vec<(String, f64)> = Vec::new();
    for (name, time) in rows {
        match phases.iter_mut().find(|(other, _)| *other == name) {
            Some((_, sum)) => *sum += time,
            None => phases.push((name, time)),
        }
    }
    phases
}

/// The table of `hoist run --timings`: `STEP µs SHARE NAME CONFIG`, and the total in the end.
fn of_hoist(text: &str) -> Result<Vec<(String, f64)>> {
    let mut rows = Vec::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, _, "total"] => {}
            [_, time, _, name, ..] => {
                let time = time.parse().map_err(|_| strange(line))?;
                rows.push(((*name).to_owned(), time));
            }
            _ => return Err(strange(line)),
        }
    }
    Ok(rows)
}

fn strange(line: &str) -> Failure {
    Failure::new(format!("hoist run --timings: not understood: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hoists_table() {
        let text = "STEP  µs   SHARE   NAME       CONFIG\n\
                    -     317  7.4%    compile    \n\
                    12    143  3.3%    attach     /a\n\
                    13    7    3.3%    attach     \n      4297 100.0%   total    \n";
        let rows = summed(of_hoist(text).unwrap());
        assert_eq!(rows, [("compile".to_owned(), 317.0), ("attach".to_owned(), 150.0)]);
        assert!(of_hoist("head\nwhat is this").is_err());
    }
}
