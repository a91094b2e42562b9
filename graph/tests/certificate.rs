//! Certificates: ours as a credential, others' to trust.

mod mock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use graph::{Config, Credential, ErrorKind, Graph};
use mock::Mock;
use serde_json::{Value, json as value};
use sha2::{Digest as _, Sha256};

const KEY: &str = include_str!("data/client-key.pem");
const PKCS1_KEY: &str = include_str!("data/client-key-pkcs1.pem");
const OTHER_KEY: &str = include_str!("data/other-key.pem");

struct Pair {
    pem: String,
    der: Vec<u8>,
    public: String,
}

fn certificate(key: &str) -> Pair {
    let pair = rcgen::KeyPair::from_pem_and_sign_algo(key, &rcgen::PKCS_RSA_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["tar365.example".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2031, 2, 3);
    let certificate = params.self_signed(&pair).unwrap();
    Pair { pem: certificate.pem(), der: certificate.der().to_vec(), public: pair.public_key_pem() }
}

#[tokio::test]
async fn a_certificate_signs_an_assertion() {
    let pair = certificate(KEY);
    let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &pair.der);
    let modern = value!({
        "typ": "JWT", "alg": "PS256", "x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(&pair.der))
    });
    let legacy = value!({"typ": "JWT", "alg": "RS256", "x5t": URL_SAFE_NO_PAD.encode(sha1)});
    for (old, header, key) in
        [(false, &modern, KEY), (true, &legacy, KEY), (false, &modern, PKCS1_KEY)]
    {
        let mock = Mock::start(|_| None).await;
        let pem = format!("{key}\n{}", pair.pem).into_bytes();
        let credential = Credential::Certificate { client_id: "app-1".into(), pem, legacy: old };
        let graph = Graph::new(mock.config(), credential).unwrap();
        let expiry = graph.certificate_expiry().unwrap();
        assert_eq!(expiry.to_rfc3339(), "2031-02-03T00:00:00+00:00");
        graph.sign_in().await.unwrap();

        let [sent] = &mock.tokens()[..] else { panic!() };
        assert_eq!(sent.form("client_secret"), None);
        assert_eq!(sent.form("client_id").as_deref(), Some("app-1"));
        assert_eq!(
            sent.form("client_assertion_type").as_deref(),
            Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        );
        let assertion = sent.form("client_assertion").unwrap();
        let part = |n: usize| URL_SAFE_NO_PAD.decode(assertion.split('.').nth(n).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&part(0)).unwrap(), *header);
        check_claims(&assertion, &pair.public, old, mock.url.as_str());
    }
}

fn check_claims(assertion: &str, public: &str, legacy: bool, base: &str) {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    let algorithm = if legacy { Algorithm::RS256 } else { Algorithm::PS256 };
    let key = DecodingKey::from_rsa_pem(public.as_bytes()).unwrap();
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[format!("{base}contoso.example/oauth2/v2.0/token")]);
    validation.validate_nbf = true;
    let claims = decode::<Value>(assertion, &key, &validation).unwrap().claims;
    assert_eq!((&claims["iss"], &claims["sub"]), (&value!("app-1"), &value!("app-1")));
    assert!(uuid::Uuid::parse_str(claims["jti"].as_str().unwrap()).is_ok());
    let time = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!(time("nbf"), time("iat"));
    assert_eq!(time("exp") - time("nbf"), 600);
    assert!((Utc::now().timestamp() - time("iat")).abs() < 60);
}

#[test]
fn an_unusable_certificate_is_found_at_once() {
    let pair = certificate(KEY);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
    for (pem, why) in [
        (String::new(), "no readable CERTIFICATE"),
        (KEY.to_owned(), "no readable CERTIFICATE"),
        (pair.pem.clone(), "no readable PRIVATE KEY"),
        (format!("{}{encrypted}", pair.pem), "encrypted"),
        (format!("{}{OTHER_KEY}", pair.pem), "does not belong"),
    ] {
        let pem = pem.into_bytes();
        let credential = Credential::Certificate { client_id: "a".into(), pem, legacy: false };
        let error = Graph::new(Config::new("t"), credential).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.to_string().contains("client certificate"), "{error}");
        assert!(!format!("{error:?}").contains("MII"));
    }
}

#[test]
fn unusable_ca_certificates_are_found_at_once() {
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let mut config = Config::new("t");
        config.ca_certificates_pem = Some(pem.as_bytes().to_vec());
        let error = Graph::new(config, mock::secret()).map(|_| ()).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::CaCertificate);
        assert!(error.hint().is_some());
    }
}
