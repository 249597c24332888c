//! The alternative names of a certificate: DNS names, e-mail addresses, URIs and IP addresses.
//!
//! Just enough DER to find them. Whether the certificate is to be believed is not asked here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// The extensions, the only part of a certificate with this tag.
const EXTENSIONS: u8 = 0xa3;

/// 2.5.29.17, subjectAltName.
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];

const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;

/// Every such name; `None` where the certificate makes no sense.
pub(super) fn names(certificate: &[u8]) -> Option<Vec<String>> {
    let signed = value(certificate, SEQUENCE)?;
    let mut parts = Elements(value(signed, SEQUENCE)?);
    // A certificate begins with its version and number; what has neither is something else.
    parts.by_ref().find(|(tag, _)| *tag == INTEGER)?;
    let Some((_, extensions)) = parts.find(|(tag, _)| *tag == EXTENSIONS) else {
        return Some(Vec::new());
    };
    for (_, extension) in Elements(value(extensions, SEQUENCE)?) {
        if value(extension, OBJECT)? == ALTERNATIVE_NAMES {
            // Between the two it may say that it is critical.
            let (_, octets) = Elements(extension).find(|(tag, _)| *tag == OCTETS)?;
            return Some(
                Elements(value(octets, SEQUENCE)?)
                    .filter_map(name)
                    .collect(),
            );
        }
    }
    Some(Vec::new())
}

fn name((tag, value): (u8, &[u8])) -> Option<String> {
    match tag {
        EMAIL | DNS | URI => String::from_utf8(value.to_vec()).ok(),
        ADDRESS => {
            let address = <[u8; 4]>::try_from(value)
                .map(|four| IpAddr::V4(Ipv4Addr::from(four)))
                .or_else(|_| {
                    <[u8; 16]>::try_from(value).map(|all| IpAddr::V6(Ipv6Addr::from(all)))
                });
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The value of the first element, if it has that tag.
fn value(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (found, value) = Elements(bytes).next()?;
    (found == tag).then_some(value)
}

/// Tags and values, one after the other, as far as they make sense.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Up to 3 bytes: no certificate has 16 MB.
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                let length = digits
                    .iter()
                    .fold(0, |sum, digit| (sum << 8) | usize::from(*digit));
                (length, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};
    use rcgen::{CertificateParams, SanType};

    use super::names;

    #[test]
    fn every_kind_of_name_is_found() {
        let mut params = CertificateParams::new(vec!["prometheus.example".to_owned()]).unwrap();
        params.subject_alt_names.extend([
            SanType::Rfc822Name("ops@example.org".try_into().unwrap()),
            SanType::URI("spiffe://example.org/prometheus".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
        ]);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(
            names(certificate.der()).unwrap(),
            [
                "prometheus.example",
                "ops@example.org",
                "spiffe://example.org/prometheus",
                "192.0.2.7",
                "2001:db8::7"
            ]
        );
        let cut = &certificate.der()[..certificate.der().len() / 2];
        assert_eq!(names(cut), None);
        let params = CertificateParams::new(Vec::new()).unwrap();
        let nameless = params.self_signed(&key).unwrap();
        assert_eq!(names(nameless.der()), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(names(&bytes));
        }
    }
}
