//! What is fuzzed of this room: the report page, which whatever gets at init may write.

use std::sync::OnceLock;

use hoist_init::page::TIMES_AT;

use super::failure;
use crate::error::ErrorKind;
use crate::plan::{self, Plan};
use crate::spawn::report::{Snapshot, durations};

/// The report page.
pub fn report(data: &[u8]) {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    let plan = PLAN.get_or_init(plan::fuzz::example).as_ref();
    assert!(plan.is_some());
    let (page, times) = data.split_at_checked(TIMES_AT).unwrap_or((data, &[]));
    let snapshot = Snapshot::parse(page);
    assert!(snapshot.notify.is_none_or(|number| number >= 0), "{snapshot:?}");
    assert_eq!(durations(times).len(), (times.len() / 8).saturating_sub(1));
    let _ = super::ungranted_warning(snapshot.ungranted);
    for plan in [plan, None] {
        let Some(error) = failure::told(&snapshot, plan, || "sh".to_owned()) else { continue };
        // One line of a log, about this plan or none.
        let text = error.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        let step = plan.and_then(|plan| plan.step(snapshot.step));
        let own = |pointer: &str| step.is_some_and(|step| step.pointer() == pointer);
        let known = ["/process/args/0", "/linux/seccomp", "/process/rlimits"];
        assert!(error.pointer().is_none_or(|it| own(it) || known.contains(&it)), "{error:?}");
        assert!(snapshot.failure.is_none() || error.kind() != ErrorKind::System, "{error:?}");
    }
}
