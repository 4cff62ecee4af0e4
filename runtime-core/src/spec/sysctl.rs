//! The names of kernel parameters.

/// The file below `/proc/sys`. As in sysctl(8) the first separator decides: `net.ipv4.conf` has
/// dots, and a slash is then a dot in a name (`net.ipv4.conf.eno2/100.rp_filter`); in
/// `net/ipv4/conf` it is the other way round.
pub(crate) fn path(key: &str) -> String {
    match key.find(['.', '/']).and_then(|at| key.get(at..)) {
        Some(rest) if rest.starts_with('.') => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_separator_decides() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(super::path(key), path);
        }
    }
}
