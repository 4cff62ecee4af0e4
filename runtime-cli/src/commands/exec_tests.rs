use std::ffi::OsString;

use super::*;
use crate::args::{Parsed, parse};
use crate::table::PROGRAM;

/// The process that `hoist exec OPTIONS id true` asks for in a container with a plain process.
fn asked(options: &str) -> Result<Spec> {
    let mut container = Spec::default();
    container.set_terminal(Some(true)).set_env(Some(vec!["A=1".to_owned()]));
    let line = format!("exec {options} id true x");
    match parse(&PROGRAM, line.split_whitespace().map(OsString::from)) {
        Ok(Parsed::Run { values, .. }) => {
            let arguments = ["true", "x"].map(str::to_owned).into();
            with_options(container, arguments, &values, &Log::stderr())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_container_s_process_is_the_model() {
    let process = asked("").unwrap();
    assert_eq!(process.args().as_ref().unwrap(), &["true", "x"]);
    assert_eq!(process.terminal(), Some(false));
    assert_eq!(process.env().as_ref().unwrap(), &["A=1"]);
    assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
    assert_eq!(process.user().additional_gids(), &None);
    assert_eq!(process.capabilities(), Spec::default().capabilities());
}

#[test]
fn options_change_it() {
    let process = asked(
        "-t --cwd /tmp -e B=2 -e A=3 --user 5:6 -g 7 -g 8 --apparmor p --process-label l \
         --no-new-privs=false",
    )
    .unwrap();
    assert_eq!(process.terminal(), Some(true));
    assert_eq!(process.cwd(), Path::new("/tmp"));
    assert_eq!(process.env().as_ref().unwrap(), &["A=1", "B=2", "A=3"]);
    assert_eq!((process.user().uid(), process.user().gid()), (5, 6));
    assert_eq!(process.user().additional_gids().as_ref().unwrap(), &[7, 8]);
    assert_eq!(process.apparmor_profile().as_deref(), Some("p"));
    assert_eq!(process.selinux_label().as_deref(), Some("l"));
    assert_eq!(process.no_new_privileges(), Some(false));
    assert_eq!(asked("--no-new-privs").unwrap().no_new_privileges(), Some(true));
    assert_eq!(asked("-u 5").unwrap().user().gid(), 0);
    assert!(asked("-u root").is_err());
    assert!(asked("--user=").is_err(), "an empty variable must not mean root");
}

#[test]
fn capabilities_are_never_made_inheritable() {
    let [kill, admin] = [Capability::Kill, Capability::SysAdmin];
    let sets = with_capabilities(None, &[admin]);
    for set in [sets.bounding(), sets.effective(), sets.permitted()] {
        assert_eq!(set.as_ref().unwrap(), &[admin].into_iter().collect());
    }
    assert_eq!((sets.inheritable(), sets.ambient()), (&None, &None));

    let mut model = sets;
    model.set_inheritable(Some([kill].into_iter().collect()));
    let sets = with_capabilities(Some(model), &[kill]);
    assert_eq!(sets.bounding().as_ref().unwrap().len(), 2);
    assert_eq!(sets.inheritable().as_ref().unwrap(), &[kill].into_iter().collect());
    assert_eq!(sets.ambient().as_ref().unwrap(), &[kill].into_iter().collect());

    let known = capabilities(["CAP_KILL", "CAP_NONSENSE"].into_iter(), &Log::stderr());
    assert_eq!(known, [kill]);
}

#[test]
fn a_process_file_needs_no_user() {
    let path = std::env::temp_dir().join(format!("hoist-process-{}", std::process::id()));
    fs::write(&path, r#"{"args": ["true"], "cwd": "/", "terminal": true}"#).unwrap();
    let process = read(&path, &Log::stderr()).unwrap();
    assert_eq!(process.args().as_ref().unwrap(), &["true"]);
    assert_eq!(process.user().uid(), 0);
    fs::write(&path, "[]").unwrap();
    assert!(read(&path, &Log::stderr()).unwrap_err().message().unwrap().contains("/process"));
    fs::remove_file(&path).unwrap();
    let missing = read(&path, &Log::stderr()).unwrap_err();
    assert!(missing.message().unwrap().ends_with("no such file or directory"));
}
