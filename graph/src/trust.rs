//! Trust in a self-signed server certificate that was handed over by name.
//!
//! The certificate that `openssl req -x509` makes is its own authority. Given as the CA file it
//! says clearly enough whom to trust, but certificate path validation refuses it as "CA used as
//! end entity". So: what validation accepts is accepted; that one refusal is lifted when the
//! server shows, byte for byte, a certificate of the CA file that is valid now and for the name.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::{Error, ErrorKind};

/// TLS as a client that trusts the system's roots, Mozilla's, and the certificates of a PEM file.
/// For connections beside those of [`crate::Graph`]; no ALPN is set.
///
/// # Errors
/// [`ErrorKind::CaCertificate`] for a file without certificates, or with bad ones.
pub fn client_tls(ca_certificates_pem: Option<&[u8]>) -> Result<ClientConfig, Error> {
    let extra = extra_roots(ca_certificates_pem)?;
    let failed =
        |source: rustls::Error| Error::new(ErrorKind::CaCertificate, "set up TLS").because(source);
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // Certificates of the system that nobody can parse are nobody's concern here.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in &extra {
        roots.add(certificate.clone()).map_err(failed)?;
    }
    let provider = Arc::new(ring::default_provider());
    let by_path =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| Error::new(ErrorKind::CaCertificate, "set up TLS").because(error))?;
    let verifier = Named { by_path, named: extra, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

fn extra_roots(pem: Option<&[u8]>) -> Result<Vec<CertificateDer<'static>>, Error> {
    let Some(pem) = pem else {
        return Ok(Vec::new());
    };
    let unusable = || Error::new(ErrorKind::CaCertificate, "read CA certificates");
    let mut roots = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.map_err(|error| unusable().because(error))?;
        X509Certificate::from_der(&der).map_err(|error| unusable().because(error))?;
        roots.push(der.into_owned());
    }
    if roots.is_empty() {
        return Err(unusable().with_message("no CERTIFICATE in the PEM"));
    }
    Ok(roots)
}

/// Path validation, and certificates trusted by name.
#[derive(Debug)]
struct Named {
    by_path: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Named {
    fn is_named(
        &self,
        certificate: &CertificateDer<'_>,
        server: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<bool, rustls::Error> {
        if !self.named.iter().any(|named| named.as_ref() == certificate.as_ref()) {
            return Ok(false);
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, server)?;
        let bad = || rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| bad())?;
        let seconds = i64::try_from(now.as_secs()).map_err(|_| bad())?;
        let validity = parsed.validity();
        if seconds < validity.not_before.timestamp() {
            return Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYet));
        }
        if seconds > validity.not_after.timestamp() {
            return Err(rustls::Error::InvalidCertificate(CertificateError::Expired));
        }
        Ok(true)
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let by_path =
            self.by_path.verify_server_cert(certificate, intermediates, server, ocsp, now);
        match by_path {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.is_named(certificate, server, now)? =>
            {
                Ok(ServerCertVerified::assertion())
            }
            by_path => by_path,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
