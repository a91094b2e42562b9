//! Tokens: how to get one, and how not to.

mod client;

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use client::{Client, form, read};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simulator::{Credentials, Options};

/// Made for these tests; they open nothing.
const KEY: &str = include_str!("keys/app.key.pem");
const CERTIFICATE: &str = include_str!("keys/app.crt.pem");
const STRANGER: &str = include_str!("keys/other.key.pem");

fn with(change: impl FnOnce(&mut Credentials)) -> Options {
    let mut options = Options::default();
    change(&mut options.credentials);
    options
}

/// The form with one field changed, or left out.
fn changed(form: &[(String, String)], name: &str, value: Option<&str>) -> Vec<(String, String)> {
    let mut form = form.to_vec();
    form.retain(|(key, _)| key != name);
    form.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    form
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    let bytes = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_secret_buys_a_token_that_tells_its_roles() {
    let client = Client::new(Options::default()).await;
    let answer = client.token(&client.simulator.tenant_id(), &client.secret_form()).await;
    assert_eq!(answer.body["expires_in"], 3599);
    let claims = claims(answer.body["access_token"].as_str().unwrap());
    assert_eq!(claims["tid"], client.simulator.tenant_id().as_str());
    assert_eq!(claims["appid"], client.simulator.client_id().as_str());
    assert!(claims["roles"].as_array().unwrap().contains(&"Mail.Read".into()));
    // By domain, and with HTTP Basic.
    let domain = Credentials::default().domain;
    let bare = changed(&client.secret_form(), "client_secret", None);
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let url = format!("{}/{domain}/oauth2/v2.0/token", client.simulator.login_url());
    let request = client.http.post(url).form(&changed(&bare, "client_id", None));
    let basic = request
        .basic_auth(client.simulator.client_id(), Some(encode(&client.simulator.client_secret())));
    assert_eq!(read(basic).await.unwrap().status, 200);
}

#[tokio::test]
async fn what_is_wrong_has_its_number() {
    let client = Client::new(Options::default()).await;
    let (tenant, good) = (client.simulator.tenant_id(), client.secret_form());
    let cases = [
        (changed(&good, "client_secret", Some("guess")), 401, 7_000_215),
        (changed(&good, "client_id", Some("nobody")), 400, 700_016),
        (changed(&good, "scope", Some("https://foo.example/.default")), 400, 70_011),
        (changed(&good, "scope", Some("Mail.Read")), 400, 70_011),
        (changed(&good, "scope", None), 400, 900_144),
        (changed(&good, "grant_type", None), 400, 900_144),
        (changed(&good, "client_secret", None), 401, 7_000_218),
        (changed(&good, "grant_type", Some("password")), 400, 70_003),
    ];
    for (form, status, number) in cases {
        let answer = client.token(&tenant, &form).await;
        assert_eq!((answer.status, &answer.body["error_codes"]), (status, &json!([number])));
        let text = answer.body["error_description"].as_str().unwrap();
        assert!(text.starts_with(&format!("AADSTS{number}: ")), "{text}");
    }
    assert_eq!(client.token("nowhere", &good).await.body["error_codes"], json!([90_002]));
    let expired = with(|c| c.secret_expires = Some(Utc::now() - TimeDelta::days(1)));
    let simulator = simulator::serve(expired).await.unwrap();
    let url = format!("{}/{tenant}/oauth2/v2.0/token", simulator.login_url());
    let scope = format!("{}/.default", simulator.graph_url());
    let answer =
        read(client.http.post(url).form(&changed(&good, "scope", Some(&scope)))).await.unwrap();
    assert_eq!(answer.body["error_codes"], json!([7_000_222]));
}

fn assertion(
    client: &Client,
    alg: Algorithm,
    key: &str,
    change: impl FnOnce(&mut Value),
) -> String {
    let pem = CERTIFICATE.lines().filter(|line| !line.starts_with("---")).collect::<String>();
    let der = data_encoding::BASE64.decode(pem.as_bytes()).unwrap();
    let mut header = Header::new(alg);
    header.x5t_s256 = Some(data_encoding::BASE64URL_NOPAD.encode(&Sha256::digest(&der)));
    let now = Utc::now().timestamp();
    let id = client.simulator.client_id();
    let audience = format!(
        "{}/{}/oauth2/v2.0/token",
        client.simulator.login_url(),
        client.simulator.tenant_id()
    );
    let mut claims = json!({"aud": audience, "iss": id, "sub": id, "jti": "1", "nbf": now, "iat": now, "exp": now + 300});
    change(&mut claims);
    let key = EncodingKey::from_rsa_pem(key.as_bytes()).unwrap();
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

#[tokio::test]
async fn a_certificate_signs_an_assertion() {
    let client = Client::new(with(|c| c.certificates.push(CERTIFICATE.into()))).await;
    let tenant = client.simulator.tenant_id();
    let post = async |assertion: String| {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let form = changed(&client.secret_form(), "client_secret", None);
        let form = changed(&form, "client_assertion_type", Some(kind));
        let answer =
            client.token(&tenant, &changed(&form, "client_assertion", Some(&assertion))).await;
        (answer.status, answer.body["error_codes"][0].as_u64().unwrap_or(0))
    };
    let past = Utc::now().timestamp() - 10;
    let keep = |_: &mut Value| {};
    assert_eq!(post(assertion(&client, Algorithm::PS256, KEY, keep)).await, (200, 0));
    assert_eq!(post(assertion(&client, Algorithm::RS256, KEY, keep)).await, (200, 0));
    assert_eq!(post(assertion(&client, Algorithm::PS256, STRANGER, keep)).await, (401, 700_027));
    let old = assertion(&client, Algorithm::PS256, KEY, |claims| claims["exp"] = past.into());
    assert_eq!(post(old).await, (401, 700_024));
    let early =
        assertion(&client, Algorithm::PS256, KEY, |claims| claims["nbf"] = (past + 9000).into());
    assert_eq!(post(early).await, (401, 700_024));
    let stray =
        assertion(&client, Algorithm::PS256, KEY, |claims| claims["aud"] = "elsewhere".into());
    assert_eq!(post(stray).await.0, 401);
    let other = assertion(&client, Algorithm::PS256, KEY, |claims| claims["iss"] = "me".into());
    assert_eq!(post(other).await.0, 401);
    assert_eq!(post("nonsense".into()).await.0, 401);
}

#[tokio::test]
async fn an_outside_token_is_accepted_as_configured() {
    let client = Client::new(with(|c| c.federated_tokens.push("outside.jwt.token".into()))).await;
    let form = changed(&client.secret_form(), "client_secret", None);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let form = changed(&form, "client_assertion_type", Some(kind));
    let good = changed(&form, "client_assertion", Some("outside.jwt.token"));
    assert_eq!(client.token(&client.simulator.tenant_id(), &good).await.status, 200);
}

#[tokio::test]
async fn device_code_and_refresh() {
    let client = Client::new(Options::default()).await;
    let (tenant, id) = (client.simulator.tenant_id(), client.simulator.client_id());
    let url = format!("{}/{tenant}/oauth2/v2.0/devicecode", client.simulator.login_url());
    let asked = form(&[("client_id", &id), ("scope", "Mail.Read Files.Read.All offline_access")]);
    let code = read(client.http.post(url).form(&asked)).await.unwrap().body;
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let poll = form(&[
        ("client_id", &id),
        ("grant_type", grant),
        ("device_code", code["device_code"].as_str().unwrap()),
    ]);
    for _ in 0..2 {
        assert_eq!(client.token(&tenant, &poll).await.body["error"], "authorization_pending");
    }
    let tokens = client.token(&tenant, &poll).await.body;
    assert_eq!(client.token(&tenant, &poll).await.body["error"], "bad_verification_code");
    let mut me = client;
    me.token = tokens["access_token"].as_str().unwrap().to_owned();
    assert_eq!(me.get("/me/mailFolders").await.status, 200);
    let other = me.simulator.tenant().users()[1].id.clone();
    assert_eq!(me.get(&format!("/users/{other}/mailFolders")).await.status, 403);
    let first = tokens["refresh_token"].as_str().unwrap();
    let refresh = |token: &str| {
        form(&[("client_id", &id), ("grant_type", "refresh_token"), ("refresh_token", token)])
    };
    let renewed = me.token(&tenant, &refresh(first)).await.body;
    assert_ne!(renewed["refresh_token"], first);
    assert_eq!(me.token(&tenant, &refresh(first)).await.body["error"], "invalid_grant");
}

#[tokio::test]
async fn managed_identity_and_discovery() {
    let client = Client::new(Options::default()).await;
    let root = client.simulator.imds_url();
    let url = format!(
        "{root}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}",
        client.simulator.graph_url()
    );
    assert_eq!(read(client.http.get(&url)).await.unwrap().status, 400);
    let answer = read(client.http.get(&url).header("Metadata", "true")).await.unwrap();
    assert_eq!(answer.body["expires_in"], "3599");
    assert!(answer.body["access_token"].as_str().unwrap().starts_with("ey"));
    let tenant = client.simulator.tenant_id();
    let url =
        format!("{}/{tenant}/v2.0/.well-known/openid-configuration", client.simulator.login_url());
    let document = read(client.http.get(url)).await.unwrap().body;
    assert_eq!(document["token_endpoint"], format!("{root}/{tenant}/oauth2/v2.0/token"));
    let url = format!("{root}/common/discovery/instance?api-version=1.1&authorization_endpoint=x");
    assert!(read(client.http.get(url)).await.unwrap().body["metadata"].is_array());
}

#[tokio::test]
async fn tokens_run_out() {
    let lifetime = Duration::from_millis(400);
    let mut client = Client::new(Options { token_lifetime: lifetime, ..Options::default() }).await;
    assert_eq!(client.get("/organization").await.status, 200);
    tokio::time::sleep(lifetime).await;
    let late = client.get("/organization").await;
    assert_eq!((late.status, late.code()), (401, "InvalidAuthenticationToken"));
    assert!(late.header("www-authenticate").starts_with("Bearer"));
    client.sign_in().await;
    assert_eq!(client.get("/organization").await.status, 200);
    client.token.push('x');
    assert_eq!(client.get("/organization").await.status, 401);
}
