//! `hoist update`.

use std::fmt::Display;
use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;
use std::str::FromStr;

use hoist::{Limit, Resources};

use crate::args::{Flag, Values};
use crate::failure::{Context, Failure, Result};
use crate::integer;
use crate::session::Session;
use crate::size;
use crate::table::flags;

/// No resources are longer.
const LIMIT: u64 = 16 << 20;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let container = session.container()?;
    let values = &session.values;
    let resources = match values.path(&flags::RESOURCES) {
        Some(path) => Resources::from_json(read(path)?)?,
        None => {
            if kernel_memory(values)? {
                // runc's wording.
                session.log.warn("Kernel memory settings are ignored and will be removed");
            }
            options(values)?
        }
    };
    let schema = |flag| values.text(flag).unwrap_or_default();
    let resources = resources
        .l3_cache_schema(schema(&flags::L3_CACHE_SCHEMA))
        .memory_bandwidth_schema(schema(&flags::MEM_BW_SCHEMA));
    for warning in container.update(&resources)? {
        session.log.warn(&warning);
    }
    Ok(0)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        stdin().lock().take(LIMIT + 1).read_to_end(&mut text)
    } else {
        let file = File::open(path).context(format_args!("open {}", path.display()))?;
        file.take(LIMIT + 1).read_to_end(&mut text)
    };
    let read = read.context(format_args!("read {}", path.display()))?;
    if read as u64 > LIMIT {
        let message = format!("read {}: larger than {} MiB", path.display(), LIMIT >> 20);
        return Err(Failure::new(message));
    }
    Ok(text)
}

/// What the options other than `--resources` say.
fn options(values: &Values) -> Result<Resources> {
    let mut to = Resources::new();
    if let Some(weight) = unsigned::<u16>(values, &flags::BLKIO_WEIGHT)? {
        to = to.block_io_weight(weight);
    }
    if let Some(list) = given(values, &flags::CPUSET_CPUS) {
        to = to.cpus(list);
    }
    if let Some(list) = given(values, &flags::CPUSET_MEMS) {
        to = to.memory_nodes(list);
    }
    if let Some(idle) = number::<i64>(values, &flags::CPU_IDLE)? {
        to = match idle {
            0 | 1 => to.cpu_idle(idle == 1),
            _ => return Err(invalid(&flags::CPU_IDLE, format!("{idle} is neither 0 nor 1"))),
        };
    }
    if let Some(burst) = unsigned(values, &flags::CPU_BURST)? {
        to = to.cpu_burst(burst);
    }
    if let Some(period) = unsigned(values, &flags::CPU_PERIOD)? {
        to = to.cpu_period(period);
    }
    if let Some(shares) = unsigned(values, &flags::CPU_SHARE)? {
        to = to.cpu_shares(shares);
    }
    if let Some(quota) = number(values, &flags::CPU_QUOTA)? {
        to = to.cpu_quota(limit(quota));
    }
    if let Some(period) = unsigned(values, &flags::CPU_RT_PERIOD)? {
        to = to.cpu_realtime_period(period);
    }
    if let Some(runtime) = number(values, &flags::CPU_RT_RUNTIME)? {
        to = to.cpu_realtime_runtime(runtime);
    }
    if let Some(bytes) = bytes(values, &flags::MEMORY)? {
        to = to.memory(bytes);
    }
    if let Some(bytes) = bytes(values, &flags::MEMORY_SWAP)? {
        to = to.memory_swap(bytes);
    }
    if let Some(bytes) = bytes(values, &flags::MEMORY_RESERVATION)? {
        to = to.memory_reservation(bytes);
    }
    // runc's one option that is a number to its parser: others have a string, read as a decimal.
    if let Some(text) = values.text(&flags::PIDS_LIMIT) {
        let pids = integer::parse(text);
        to = to.pids(limit(pids.map_err(|why| not_parsed(&flags::PIDS_LIMIT, text, why))?));
    }
    Ok(to)
}

/// Whether a limit of kernel memory was asked for.
fn kernel_memory(values: &Values) -> Result<bool> {
    let kernel = bytes(values, &flags::KERNEL_MEMORY)?;
    let tcp = bytes(values, &flags::KERNEL_MEMORY_TCP)?;
    Ok(kernel.is_some() || tcp.is_some())
}

/// As in runc, an empty value is none.
fn given<'a>(values: &'a Values, flag: &Flag) -> Option<&'a str> {
    values.text(flag).filter(|text| !text.is_empty())
}

fn number<T: FromStr<Err = std::num::ParseIntError>>(
    values: &Values,
    flag: &Flag,
) -> Result<Option<T>> {
    let Some(text) = given(values, flag) else { return Ok(None) };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(error) => {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let why = match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            Err(not_parsed(flag, text, why))
        }
    }
}

/// Go's reader of unsigned numbers takes no sign, Rust's a plus.
fn unsigned<T: FromStr<Err = std::num::ParseIntError>>(
    values: &Values,
    flag: &Flag,
) -> Result<Option<T>> {
    match given(values, flag) {
        Some(text) if text.starts_with('+') => Err(not_parsed(flag, text, "invalid syntax")),
        _ => number(values, flag),
    }
}

/// A limit of which a negative number is none.
fn limit(value: i64) -> Limit {
    u64::try_from(value).map_or(Limit::Unlimited, Limit::At)
}

fn bytes(values: &Values, flag: &Flag) -> Result<Option<Limit>> {
    match given(values, flag) {
        None => Ok(None),
        Some("-1") => Ok(Some(Limit::Unlimited)),
        Some(text) => {
            size::parse(text).map(|bytes| Some(Limit::At(bytes))).map_err(|why| invalid(flag, why))
        }
    }
}

fn not_parsed(flag: &Flag, text: &str, why: &str) -> Failure {
    invalid(flag, format!("parsing {text:?}: {why}"))
}

/// runc's wording.
fn invalid(flag: &Flag, why: impl Display) -> Failure {
    Failure::new(format!("invalid value for {}: {why}", flag.name))
}
