//! Those who are compared: they take turns, and who fails is not asked again.

use std::collections::BTreeMap;

use crate::command::{self, Cost};
use crate::failure::Result;
use crate::job::Peer;
use crate::results::{Absent, Curve, Group, Line, Series};
use crate::statistics::{mean, median};
use crate::{console, sys};

use super::arena::Arena;

/// What is measured: its id, and what people call it.
pub(crate) type Subject = (&'static str, &'static str);

/// What samples are of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Milliseconds,
    Kibibytes,
    PerSecond,
}

/// What was measured, by subject and runtime.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    values: BTreeMap<(String, String), Vec<f64>>,
    user: BTreeMap<(String, String), Vec<f64>>,
    system: BTreeMap<(String, String), Vec<f64>>,
    memory: BTreeMap<(String, String), Vec<f64>>,
}

impl Samples {
    pub(crate) fn add(&mut self, subject: &str, peer: &str, value: f64) {
        self.values.entry(key(subject, peer)).or_default().push(value);
    }

    /// The time that a command took.
    pub(crate) fn add_time(&mut self, subject: &str, peer: &str, cost: &Cost) {
        self.add(subject, peer, cost.wall.as_secs_f64() * 1e3);
        let mut note = |times: fn(&mut Self) -> &mut BTreeMap<_, Vec<f64>>, time: f64| {
            times(self).entry(key(subject, peer)).or_default().push(time * 1e3);
        };
        note(|samples| &mut samples.user, cost.usage.user.as_secs_f64());
        note(|samples| &mut samples.system, cost.usage.system.as_secs_f64());
    }

    /// The peak memory of a command that was started by [`sys::forked`].
    #[expect(clippy::cast_precision_loss, reason = "memory in KiB is less than 2^52")]
    pub(crate) fn add_memory(&mut self, subject: &str, peer: &str, cost: &Cost) {
        let memory = self.memory.entry(key(subject, peer)).or_default();
        memory.push(cost.usage.peak_rss_kib as f64);
    }

    pub(crate) fn median(&self, subject: &str, peer: &str) -> Option<f64> {
        median(self.values.get(&key(subject, peer))?)
    }

    /// What there is of one runtime, if there is anything.
    pub(crate) fn series(&self, subject: &str, peer: &str) -> Option<Series> {
        let key = key(subject, peer);
        let mean_of = |from: &BTreeMap<_, Vec<f64>>| mean(from.get(&key)?);
        Some(Series {
            runtime: peer.to_owned(),
            samples: self.values.get(&key)?.clone(),
            user_ms: mean_of(&self.user),
            system_ms: mean_of(&self.system),
            peak_rss_kib: median(self.memory.get(&key).map_or(&[], Vec::as_slice)),
        })
    }
}

fn key(subject: &str, peer: &str) -> (String, String) {
    (subject.to_owned(), peer.to_owned())
}

/// Those who are compared.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    arena: &'a Arena,
    peers: Vec<&'a Peer>,
    /// Why somebody is no longer asked.
    failures: BTreeMap<String, String>,
    rounds: usize,
}

impl<'a> Field<'a> {
    pub(crate) fn new(arena: &'a Arena, peers: impl Iterator<Item = &'a Peer>) -> Self {
        Self { arena, peers: peers.collect(), failures: BTreeMap::new(), rounds: 0 }
    }

    /// One turn each, in another order each time.
    ///
    /// # Errors
    /// Only if everything has to end.
    pub(crate) fn round(&mut self, mut turn: impl FnMut(&'a Peer) -> Result<()>) -> Result<()> {
        self.rounds += 1;
        for peer in turns(&self.peers, self.rounds) {
            if self.failures.contains_key(&peer.name) {
                continue;
            }
            let failed = turn(peer).err();
            if sys::interrupted() {
                return Err(command::interrupted());
            }
            if let Some(failure) = failed {
                console::line(format_args!("    {}: {}", peer.name, failure.message));
                self.failures.insert(peer.name.clone(), failure.message);
                self.arena.sweep(peer);
            }
        }
        Ok(())
    }

    pub(crate) fn group(&self, (id, title): Subject, unit: Unit, samples: &Samples) -> Group {
        let mut group = Group {
            id: id.to_owned(),
            title: title.to_owned(),
            environment: self.arena.view().name().to_owned(),
            unit: unit.name().to_owned(),
            less_is_better: !matches!(unit, Unit::PerSecond),
            series: Vec::new(),
            absent: Vec::new(),
        };
        for Peer { name, .. } in &self.peers {
            if let Some(series) = samples.series(id, name) {
                group.series.push(series);
            } else {
                let reason = self.failures.get(name).cloned().unwrap_or_default();
                group.absent.push(Absent { runtime: name.clone(), reason });
            }
        }
        summary(&group);
        group
    }

    /// The medians of the subjects that `subject` names for each x.
    pub(crate) fn curve(
        &self,
        (id, title): Subject,
        (x, y): (&str, &str),
        places: &[u32],
        subject: impl Fn(u32) -> String,
        samples: &Samples,
    ) -> Curve {
        let line = |peer: &&Peer| {
            let point = |x: &u32| Some((f64::from(*x), samples.median(&subject(*x), &peer.name)?));
            Line { runtime: peer.name.clone(), points: places.iter().filter_map(point).collect() }
        };
        let curve = Curve {
            id: id.to_owned(),
            title: title.to_owned(),
            environment: self.arena.view().name().to_owned(),
            x: x.to_owned(),
            y: y.to_owned(),
            lines: self.peers.iter().map(line).filter(|line| !line.points.is_empty()).collect(),
        };
        outline(&curve);
        curve
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Kibibytes => "KiB",
            Self::PerSecond => "per second",
        }
    }
}

/// All of them, each time beginning with another one.
fn turns<'a>(peers: &[&'a Peer], round: usize) -> Vec<&'a Peer> {
    let first = round.checked_rem(peers.len()).unwrap_or_default();
    peers.iter().copied().cycle().skip(first).take(peers.len()).collect()
}

/// A line with the medians, and how they compare with crun's.
pub(crate) fn summary(group: &Group) {
    let of = |series: &Series| median(&series.samples).unwrap_or(f64::NAN);
    let crun = group.series.iter().find(|series| series.runtime == "crun").map(of);
    let mut text = format!("    {:<19}", group.id);
    for series in &group.series {
        text += &format!("  {} {}", series.runtime, figure(of(series)));
        if let Some(crun) = crun.filter(|_| series.runtime != "crun") {
            text += &format!(" ({:.2})", of(series) / crun);
        }
        if let Some(memory) = series.peak_rss_kib {
            text += &format!(" {memory:.0}K");
        }
    }
    console::line(format_args!("{text}  {}", group.unit));
}

/// A line with all points.
pub(crate) fn outline(curve: &Curve) {
    let mut text = format!("    {:<19}", curve.id);
    for line in &curve.lines {
        text += &format!("  {}", line.runtime);
        for (x, y) in &line.points {
            text += &format!(" {x}:{}", figure(*y));
        }
    }
    console::line(format_args!("{text}  {} by {}", curve.y, curve.x));
}

fn figure(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_first_in_turn() {
        let peers = ["a", "b", "c"].map(|name| Peer { name: name.to_owned(), path: "/".into() });
        let peers: Vec<&Peer> = peers.iter().collect();
        let order =
            |round| turns(&peers, round).iter().map(|peer| peer.name.as_str()).collect::<String>();
        assert_eq!([0, 1, 2, 3].map(order), ["abc", "bca", "cab", "abc"]);
        assert!(turns(&[], 3).is_empty());
    }
}
