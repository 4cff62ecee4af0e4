use super::merge::merge;
use super::*;
use crate::results::Absent;

/// Made by hand; crun's and runc's figures are measured ones.
pub(super) fn fixture() -> Results {
    serde_json::from_str(include_str!("testdata/results.json")).unwrap()
}

fn directory(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("hoist-bench-{name}-{}", std::process::id()));
    fs::create_dir_all(dir.join("docs")).unwrap();
    fs::write(dir.join("README.md"), include_str!("../../../README.md")).unwrap();
    dir
}

#[test]
fn a_report_is_written_whole() {
    let dir = directory("whole");
    let docs = dir.join("docs");
    fs::create_dir_all(docs.join("performance")).unwrap();
    fs::write(docs.join("performance/old.svg"), "<svg/>").unwrap();
    let written = write(&fixture(), Some("ctr run 1 2\n"), &docs).unwrap();
    let page = fs::read_to_string(docs.join("performance.md")).unwrap();
    assert!(!docs.join("performance/old.svg").exists());
    for path in &written {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n') && !text.contains("NaN"), "{}", path.display());
    }
    // Every plot that is shown exists, and the other way round.
    let shown: Vec<&str> =
        page.split("](performance/").skip(1).map(|rest| rest.split_once(')').unwrap().0).collect();
    let svgs: Vec<&PathBuf> = written
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "svg"))
        .collect();
    assert_eq!(shown.len(), svgs.len(), "{shown:?} {svgs:?}");
    assert!(shown.iter().all(|name| docs.join("performance").join(name).exists()), "{shown:?}");
    assert!(!page.contains("In no part"), "{page}");
    // It isn't lost when only the rest is made anew.
    write(&fixture(), None, &docs).unwrap();
    assert!(fs::read_to_string(docs.join("performance.md")).unwrap().contains("\nctr run 1 2\n"));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn ratios_are_those_of_medians() {
    let mut page = String::new();
    let results = fixture();
    tables::groups(&mut page, &[results.group("run-default", "unified").unwrap()]);
    let hoist = page.lines().find(|line| line.contains("**hoist**")).unwrap();
    let cells: Vec<&str> = hoist.split('|').map(str::trim).collect();
    assert_eq!(cells[3..9], ["**2.80**", "2.72", "2.88", "2.90", "**0.42**", "**1.27**"], "{page}");
}

#[test]
fn a_target_is_met_missed_or_not_measured() {
    let mut page = String::new();
    let reasons = "\n## run-static\n\nIt waits\nfor the disk.\n";
    tables::targets(&mut page, &fixture(), reasons);
    let line = |what: &str| page.lines().find(|line| line.contains(what)).unwrap();
    assert!(line("≤ 0.42 of crun ").contains("| **0.42** | met | 2.80 : 6.67 ms |"), "{page}");
    assert!(line("≤ 0.65 of crun, static").contains("| **0.66** | **missed** |"), "{page}");
    assert!(line("smallest memory limit").contains("| not measured |"), "{page}");
    assert!(page.contains("static: It waits\n  for the disk."), "{page}");
}

/// A first run on a machine without peers, with nothing that succeeded.
#[test]
fn what_is_missing_is_said() {
    let mut results = fixture();
    results.curves.clear();
    results.phases.clear();
    for group in &mut results.groups {
        group.series.retain(|series| series.runtime == "hoist");
        group.series.iter_mut().for_each(|series| series.samples.clear());
        let reason = "exit status 1:\nlevel=error msg=\"unknown | <option>\"".to_owned();
        group.absent.push(Absent { runtime: "crun".to_owned(), reason });
    }
    let dir = directory("missing");
    write(&results, None, &dir.join("docs")).unwrap();
    let page = fs::read_to_string(dir.join("docs/performance.md")).unwrap();
    assert!(page.contains("not measured") && !page.contains("NaN"), "{page}");
    assert!(page.contains("\ncrun failed: unknown \\| &lt;option>\n"), "{page}");
    results.groups.clear();
    results.runtimes.clear();
    write(&results, None, &dir.join("docs")).unwrap();
    let readme = fs::read_to_string(dir.join("README.md")).unwrap();
    assert!(readme.contains("`create` not measured"), "{readme}");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_later_file_takes_the_place_of_an_earlier_one() {
    let mut later = fixture();
    later.groups.retain(|group| group.id == "create");
    later.groups[0].series[0].samples = vec![1.0];
    later.date = "2026-12-01".to_owned();
    let merged = merge([fixture(), later.clone()]).unwrap();
    assert_eq!(merged.groups.len(), fixture().groups.len());
    assert_eq!(merged.date, "2026-12-01");
    let group = merged.group("create", "unified").unwrap();
    assert_eq!(group.series[0].samples, [1.0]);
    later.runtimes[1].size += 1;
    assert!(merge([fixture(), later]).unwrap_err().message.contains("different builds"));
    assert!(merge([]).is_err());
}
