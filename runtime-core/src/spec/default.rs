//! The configuration that `hoist spec` writes.
//!
//! The text itself is the source, since oci-spec's types would neither keep the order of the
//! members that users know nor that of the capabilities. Its content is that of `runc spec`, and what
//! engines mask since: the processor's power (GHSA-7ww5-4wqc-m92c).

use oci_spec::runtime::Spec;

const PRIVILEGED: &str = include_str!("default/config.json");
/// With `{uid}` and `{gid}` in place of the host's.
const ROOTLESS: &str = include_str!("default/rootless.json.in");

/// The cgroup namespace, as both texts list it.
const CGROUP_NAMESPACE: &str = ",\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}";

/// A configuration to start from: a shell in the bundle's `rootfs`, on a terminal, with the
/// usual mounts, namespaces and three capabilities. The same as `hoist spec` writes.
///
/// ```
/// let mut spec = hoist::DefaultSpec::default().spec();
/// spec.set_hostname(Some("web".to_owned()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultSpec {
    rootless: Option<(u32, u32)>,
    cgroup_namespace: bool,
}

impl Default for DefaultSpec {
    fn default() -> Self {
        Self { rootless: None, cgroup_namespace: true }
    }
}

impl DefaultSpec {
    /// For a caller who is not root: a user namespace in which this user and group of the host are
    /// root, the host's network and no limits (`hoist spec --rootless`).
    #[must_use]
    pub fn rootless(mut self, uid: u32, gid: u32) -> Self {
        self.rootless = Some((uid, gid));
        self
    }

    /// Whether the container gets a cgroup namespace; it does by default. `runc spec` asks for one
    /// on hosts with the unified hierarchy (cgroup v2) only.
    #[must_use]
    pub fn cgroup_namespace(mut self, yes: bool) -> Self {
        self.cgroup_namespace = yes;
        self
    }

    /// The text of a `config.json`, indented by tabs.
    #[must_use]
    pub fn json(self) -> String {
        let text = match self.rootless {
            None => PRIVILEGED.to_owned(),
            Some((uid, gid)) => {
                ROOTLESS.replace("{uid}", &uid.to_string()).replace("{gid}", &gid.to_string())
            }
        };
        if self.cgroup_namespace { text } else { text.replace(CGROUP_NAMESPACE, "") }
    }

    /// The same as a value, for programs that fill in the rest and call
    /// [`Bundle::from_spec`](crate::Bundle::from_spec).
    #[must_use]
    pub fn spec(self) -> Spec {
        // The text is a constant but for two numbers: it always parses (tested).
        serde_json::from_str(&self.json()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bundle;

    #[test]
    fn all_forms_are_valid_and_quiet() {
        for cgroup_namespace in [true, false] {
            for form in [DefaultSpec::default(), DefaultSpec::default().rootless(0, 7)] {
                let form = form.cgroup_namespace(cgroup_namespace);
                let spec: Spec = serde_json::from_str(&form.json()).unwrap();
                assert_eq!(spec, form.spec());
                assert_eq!(form.json().contains("\"cgroup\"\n\t\t\t}"), cgroup_namespace);
                let bundle = Bundle::from_spec("/", spec).unwrap();
                assert!(bundle.warnings().is_empty(), "{:?}", bundle.warnings());
            }
        }
    }

    /// GHSA-7ww5-4wqc-m92c (containerd): `/sys/devices/virtual/powercap` was readable: how much power the
    /// processor takes tells of others' secrets (PLATYPUS, CVE-2020-8694).
    /// Seen to fail: with `runc spec`'s masked paths, which were hoist's, too.
    #[test]
    fn ghsa_7ww5_4wqc_m92c_the_processors_power_is_masked() {
        for form in [DefaultSpec::default(), DefaultSpec::default().rootless(1000, 1000)] {
            let spec = form.spec();
            let masked = spec.linux().as_ref().and_then(|linux| linux.masked_paths().as_ref());
            let masked = masked.expect("masked paths");
            assert!(
                masked.iter().any(|path| path == "/sys/devices/virtual/powercap"),
                "{masked:?}"
            );
        }
    }

    #[test]
    fn rootless_maps_the_given_ids() {
        for (uid, gid) in [(1000, 1001), (0, 0), (0, 5), (5, 0)] {
            let spec = DefaultSpec::default().rootless(uid, gid).spec();
            let linux = spec.linux().as_ref().unwrap();
            let host = |m: &Option<Vec<oci_spec::runtime::LinuxIdMapping>>| {
                m.as_ref().unwrap()[0].host_id()
            };
            assert_eq!((host(linux.uid_mappings()), host(linux.gid_mappings())), (uid, gid));
        }
    }
}
