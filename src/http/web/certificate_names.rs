//! Facts of X.509 certificates that the TLS library does not report: subject alternative names (RFC
//! 5280, section 4.2.1.6), period of validity, and purposes.
//!
//! The chain of certificates is verified elsewhere, in `tls`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rustls::CertificateError;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};

/// Purposes of certificates with which clients authenticate.
const CLIENT_PURPOSES: [ObjectIdentifier; 2] = [ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH];

fn parse(certificate: &[u8]) -> Option<Certificate> {
    Certificate::from_der(certificate).ok()
}

/// Returns whether `certificate` can be parsed.
pub(in crate::http) fn is_certificate(certificate: &[u8]) -> bool {
    parse(certificate).is_some()
}

/// Returns the end of the period of validity as a Unix timestamp in seconds.
pub(in crate::http) fn expiry(certificate: &[u8]) -> Option<i64> {
    let certificate = parse(certificate)?;
    let not_after = certificate.tbs_certificate().validity().not_after;
    i64::try_from(not_after.to_unix_duration().as_secs()).ok()
}

/// Checks that a client can use `certificate` at `now`, in seconds since the Unix epoch.
///
/// # Errors
/// Returns an error if the certificate is expired, not yet valid, or issued for other purposes.
pub(in crate::http) fn check_client(certificate: &[u8], now: u64) -> Result<(), CertificateError> {
    let certificate = parse(certificate).ok_or(CertificateError::BadEncoding)?;
    let certificate = certificate.tbs_certificate();
    let (now, validity) = (Duration::from_secs(now), certificate.validity());
    if now < validity.not_before.to_unix_duration() {
        return Err(CertificateError::NotValidYet);
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(CertificateError::Expired);
    }
    let purposes = certificate
        .get_extension::<ExtendedKeyUsage>()
        .map_err(|_| CertificateError::BadEncoding)?;
    match purposes {
        Some((_, ExtendedKeyUsage(purposes)))
            if !purposes.iter().any(|id| CLIENT_PURPOSES.contains(id)) =>
        {
            Err(CertificateError::InvalidPurpose)
        }
        _ => Ok(()),
    }
}

/// Returns all subject alternative names, or `None` if `certificate` cannot be parsed.
pub(in crate::http) fn names(certificate: &[u8]) -> Option<Vec<String>> {
    let certificate = parse(certificate)?;
    let extension = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
        .ok()?;
    let names =
        extension.map(|(_, SubjectAltName(names))| names.iter().filter_map(name_text).collect());
    Some(names.unwrap_or_default())
}

/// Returns the text of a name, or `None` for other kinds of names and invalid values.
fn name_text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::Rfc822Name(text)
        | GeneralName::DnsName(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let address = <[u8; 4]>::try_from(octets)
                .map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
                .or_else(|_| {
                    <[u8; 16]>::try_from(octets).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
                });
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};
    use rcgen::{CertificateParams, SanType};

    use super::names;

    #[test]
    fn names_of_all_kinds_are_returned() {
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
        let truncated = &certificate.der()[..certificate.der().len() / 2];
        assert_eq!(names(truncated), None);
        let params = CertificateParams::new(Vec::new()).unwrap();
        let without_names = params.self_signed(&key).unwrap();
        assert_eq!(names(without_names.der()), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = names(&bytes);
        }
    }
}
