//! What the tests talk to the simulator with.
#![allow(dead_code, reason = "each test program uses a part of it")]

use reqwest::header::HeaderMap;
use serde_json::Value;
use simulator::{Options, Simulator, User, UserKind, serve};

pub(crate) const IMMUTABLE: (&str, &str) = ("prefer", "IdType=\"ImmutableId\"");

pub(crate) struct Client {
    pub(crate) simulator: Simulator,
    pub(crate) http: reqwest::Client,
    pub(crate) token: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn rows(&self) -> &[Value] {
        self.body["value"].as_array().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn next(&self) -> Option<&str> {
        self.body["@odata.nextLink"].as_str()
    }

    pub(crate) fn delta(&self) -> Option<&str> {
        self.body["@odata.deltaLink"].as_str()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Client {
    pub(crate) async fn new(options: Options) -> Client {
        let simulator = serve(options).await.unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let mut client = Client { simulator, http, token: String::new() };
        client.sign_in().await;
        client
    }

    pub(crate) async fn sign_in(&mut self) {
        let form = self.secret_form();
        let answer = self.token(&self.simulator.tenant_id(), &form).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.token = answer.body["access_token"].as_str().unwrap().to_owned();
    }

    pub(crate) fn secret_form(&self) -> Vec<(String, String)> {
        let scope = format!("{}/.default", self.simulator.graph_url());
        let secret = self.simulator.client_secret();
        let id = self.simulator.client_id();
        form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &id),
            ("client_secret", &secret),
            ("scope", &scope),
        ])
    }

    pub(crate) async fn token(&self, tenant: &str, form: &[(String, String)]) -> Answer {
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.simulator.login_url());
        read(self.http.post(url).form(form)).await.unwrap()
    }

    /// A GET below `/v1.0`, or of a whole URL.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[IMMUTABLE]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.try_get(path, headers).await.unwrap()
    }

    pub(crate) async fn try_get(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let url = match path.starts_with("http") {
            true => path.to_owned(),
            false => format!("{}/v1.0{path}", self.simulator.graph_url()),
        };
        let mut request = self.http.get(url).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request).await
    }

    pub(crate) async fn batch(&self, body: Value) -> Answer {
        let url = format!("{}/v1.0/$batch", self.simulator.graph_url());
        read(self.http.post(url).bearer_auth(&self.token).json(&body)).await.unwrap()
    }

    /// Without a token, as files are fetched.
    pub(crate) async fn download(
        &self,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request).await
    }

    /// All rows of a list, and how many pages it took.
    pub(crate) async fn all(&self, path: &str) -> (Vec<Value>, usize) {
        let mut answer = self.get(path).await;
        let (mut rows, mut pages) = (Vec::new(), 1);
        loop {
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            rows.extend_from_slice(answer.rows());
            let Some(next) = answer.next() else {
                return (rows, pages);
            };
            answer = self.get(next).await;
            pages += 1;
        }
    }

    /// A delta round: its rows and the link to the next.
    pub(crate) async fn round(&self, path: &str, headers: &[(&str, &str)]) -> (Vec<Value>, String) {
        let mut answer = self.get_with(path, headers).await;
        let mut rows = Vec::new();
        loop {
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            rows.extend_from_slice(answer.rows());
            if let Some(delta) = answer.delta() {
                assert_eq!(answer.next(), None);
                return (rows, delta.to_owned());
            }
            answer = self.get_with(answer.next().unwrap(), headers).await;
        }
    }

    pub(crate) fn user(&self, kind: UserKind) -> User {
        self.simulator.tenant().users().into_iter().find(|user| user.kind == kind).unwrap()
    }

    /// The first ordinary user's id.
    pub(crate) fn member(&self) -> String {
        self.user(UserKind::Member).id
    }
}

pub(crate) fn form(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) async fn read(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await?.to_vec();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Answer { status, headers, body, bytes })
}

pub(crate) fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["id"].as_str().unwrap()).collect()
}
