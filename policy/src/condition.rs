//! The conditions a grant may set besides its dates: where the person came from, and a schedule.

use crate::text::quoted;
use ipnet::{IpNet, Ipv4Net};
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;

pub use crate::schedule::{Days, Window};

/// What must hold besides a grant's dates. All of it must hold; an empty list asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// Networks, one of which the person must have come from. An unknown source matches none.
    pub source: Arc<[IpNet]>,
    /// Windows, one of which must be open.
    pub schedule: Arc<[Window]>,
}

impl When {
    /// Whether a person who came from there (`None`: nobody knows) meets the condition.
    #[must_use]
    pub fn source_holds(&self, source: Option<IpAddr>) -> bool {
        if self.source.is_empty() {
            return true;
        }
        // A v4 client of a dual-stack listener shows up as ::ffff:192.0.2.7.
        let Some(source) = source.map(|address| address.to_canonical()) else {
            return false;
        };
        self.source.iter().any(|net| net.contains(&source))
    }

    /// If the schedule is open at that time: when it closes (the latest end of the windows open
    /// then; [`Timestamp::MAX`] without a schedule). `None` if it is closed.
    #[must_use]
    pub fn open_until(&self, at: Timestamp) -> Option<Timestamp> {
        if self.schedule.is_empty() {
            return Some(Timestamp::MAX);
        }
        self.schedule.iter().filter_map(|w| w.open_until(at)).max()
    }
}

/// Reads a network: `10.8.0.0/16`, `2001:db8::/32`, or one address. A v4-mapped network counts as
/// the v4 network it stands for.
///
/// # Errors
///
/// For anything else, and for an address with bits set beyond its prefix: whoever wrote it may have
/// meant the address or the network.
pub fn parse_net(text: &str) -> Result<IpNet, String> {
    let fault = || {
        format!(
            "source {} is no network: write an address or a prefix such as 10.8.0.0/16",
            quoted(text)
        )
    };
    // ipnet would take 010.8.0.0, which other tools read as octal.
    let (address, prefix) = text
        .split_once('/')
        .map_or((text, None), |(a, p)| (a, Some(p)));
    let address: IpAddr = address.parse().map_err(|_| fault())?;
    let net = match prefix {
        None => IpNet::from(address),
        Some(prefix) if prefix.bytes().all(|b| b.is_ascii_digit()) => prefix
            .parse()
            .ok()
            .and_then(|prefix| IpNet::new(address, prefix).ok())
            .ok_or_else(fault)?,
        Some(_) => return Err(fault()),
    };
    if net.trunc() != net {
        return Err(format!(
            "source {} has bits set beyond its prefix: write {} for the network or {} for the one address",
            quoted(text),
            net.trunc(),
            net.addr()
        ));
    }
    Ok(fold_mapped(net))
}

fn fold_mapped(net: IpNet) -> IpNet {
    let folded = match net {
        IpNet::V6(v6) => v6
            .addr()
            .to_ipv4_mapped()
            .zip(v6.prefix_len().checked_sub(96))
            .and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()),
        IpNet::V4(_) => None,
    };
    folded.map_or(net, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> String {
        parse_net(text).unwrap().to_string()
    }

    #[test]
    fn networks_are_read_and_mapped_ones_folded() {
        assert_eq!(net("10.8.0.0/16"), "10.8.0.0/16");
        assert_eq!(net("192.0.2.7"), "192.0.2.7/32");
        assert_eq!(net("2001:db8::/32"), "2001:db8::/32");
        assert_eq!(net("::ffff:10.8.0.0/112"), "10.8.0.0/16");
        assert_eq!(net("::ffff:192.0.2.7"), "192.0.2.7/32");
        assert_eq!(net("::/0"), "::/0");
        // Wider than the mapped addresses: not a v4 network.
        assert_eq!(net("::/64"), "::/64");
    }

    #[test]
    fn networks_that_could_mean_two_things_are_refused() {
        for text in [
            "",
            "10.8",
            "10.8.0.0/33",
            "10.8.0.0/",
            "/8",
            "10.8.0.0/255.255.0.0",
            "10.8.0.0/+16",
            "010.8.0.0/16",
            "example.org",
            "10.8.0.5/16",
            "fe80::1%eth0",
            " 10.8.0.0/16",
            "2001:db8::1/32",
            "any",
            "\u{1b}",
        ] {
            let fault = parse_net(text).unwrap_err();
            assert!(!fault.contains('\u{1b}'), "{fault:?}");
        }
        assert!(
            parse_net("10.8.0.5/16")
                .unwrap_err()
                .contains("write 10.8.0.0/16")
        );
    }

    #[test]
    fn the_widest_open_window_counts() {
        let window = |from, to| Window::parse("mon-sun", from, to, "UTC").unwrap();
        let when = When {
            schedule: [
                window("10:00", "12:00"),
                window("11:00", "13:00"),
                window("20:00", "21:00"),
            ]
            .into(),
            ..When::default()
        };
        let at = |text: &str| {
            when.open_until(text.parse().unwrap())
                .map(|t| t.to_string())
        };
        assert_eq!(
            at("2026-11-21T11:30:00Z"),
            Some("2026-11-21T13:00:00Z".into())
        );
        assert_eq!(
            at("2026-11-21T10:30:00Z"),
            Some("2026-11-21T12:00:00Z".into())
        );
        assert_eq!(at("2026-11-21T13:00:00Z"), None);
    }
}
