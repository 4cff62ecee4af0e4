//! What went through network interfaces: `/proc/PID/net/dev`, proc_pid_net(5), which shows the
//! network namespace of that process to whoever reads it.

/// An interface of the container's network namespace, counted since it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NetworkStats {
    /// The interface's name in the container.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets that came in damaged.
    pub rx_errors: u64,
    /// Packets received and dropped, also for want of buffers.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets dropped before they were sent.
    pub tx_dropped: u64,
}

impl NetworkStats {
    /// Reads `/proc/PID/net/dev`: two lines of titles, then an interface a line, with eight
    /// figures of what was received and eight of what was sent.
    pub(crate) fn parse(text: &str) -> Vec<Self> {
        let interface = |line: &str| {
            let (name, figures) = line.split_once(':')?;
            let mut figures = figures.split_ascii_whitespace().map(|figure| figure.parse().ok());
            let mut next = || figures.next().flatten();
            let (rx_bytes, rx_packets, rx_errors, rx_dropped) =
                (next()?, next()?, next()?, next()?);
            let _fifo_frame_compressed_multicast = [next()?, next()?, next()?, next()?];
            Some(Self {
                name: name.trim_ascii().to_owned(),
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                tx_bytes: next()?,
                tx_packets: next()?,
                tx_errors: next()?,
                tx_dropped: next()?,
            })
        };
        text.lines().skip(2).filter_map(interface).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1280      16    0    0    0     0          0         0     1280      16    0    0    0     0       0          0
  eth0:18446744073709551615 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
 short: 1 2 3
";

    #[test]
    fn a_line_is_an_interface() {
        let found = NetworkStats::parse(TEXT);
        let names: Vec<_> = found.iter().map(|interface| interface.name.as_str()).collect();
        assert_eq!(names, ["lo", "eth0"]);
        let lo = &found[0];
        assert_eq!((lo.rx_bytes, lo.rx_packets, lo.tx_bytes, lo.tx_packets), (1280, 16, 1280, 16));
        let eth0 = NetworkStats {
            name: "eth0".to_owned(),
            rx_bytes: u64::MAX,
            rx_packets: 2,
            rx_errors: 3,
            rx_dropped: 4,
            tx_bytes: 9,
            tx_packets: 10,
            tx_errors: 11,
            tx_dropped: 12,
        };
        assert_eq!(found[1], eth0);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-z0-9: |\n-]{0,300}", any in any::<String>()) {
            NetworkStats::parse(&text);
            NetworkStats::parse(&any);
        }
    }
}
