//! The token endpoints: client credentials, device code, refresh tokens, managed identity, and
//! the discovery documents that sign-in libraries read first.

use serde_json::{Value, json};

use crate::authority::{DeviceGrant, OauthError, oauth};
use crate::call::{Call, decoded, fresh_guid, pairs};
use crate::reply::Reply;
use crate::server::World;

pub(crate) fn answer(world: &World, call: &Call) -> Reply {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["common", "discovery", "instance"] => instances(world, call),
        [tenant, "v2.0", ".well-known", "openid-configuration"]
        | [tenant, ".well-known", "openid-configuration"] => discovery(world, call, tenant),
        [tenant, "discovery", "v2.0", "keys"] => known(world, tenant)
            .map_or_else(|e| refused(&e), |()| Reply::json_status(200, json!({"keys": []}))),
        [tenant, "oauth2", "v2.0", "token"] => finish(token(world, call, tenant)),
        [tenant, "oauth2", "v2.0", "devicecode"] => finish(device_code(world, call, tenant)),
        _ => Reply::html(404, "<html><body>404 - File or directory not found.</body></html>"),
    }
}

/// The identity endpoint of a virtual machine.
pub(crate) fn managed_identity(world: &World, call: &Call) -> Reply {
    let refused = |text: &str| {
        let body = json!({"error": "invalid_request", "error_description": text});
        Reply::json_status(400, body)
    };
    if !call.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return refused("Required metadata header not specified");
    }
    if call.option("api-version").is_none() {
        return refused("Required query variable 'api-version' is missing");
    }
    let Some(resource) = call.option("resource") else {
        return refused("Required query variable 'resource' is missing");
    };
    if !audiences(call).iter().any(|known| known == resource.trim_end_matches('/')) {
        return refused("AADSTS500011: The resource principal named was not found in the tenant.");
    }
    let authority = &world.authority;
    let named = call.option("client_id").or(call.option("object_id"));
    if named.is_some_and(|id| id != authority.credentials.client_id) {
        return refused("Identity not found");
    }
    let now = chrono::Utc::now().timestamp();
    let lifetime = authority.lifetime();
    Reply::json_status(
        200,
        json!({
            "access_token": authority.mint(&call.roots, None),
            "client_id": authority.credentials.client_id,
            "refresh_token": "",
            "expires_in": lifetime.to_string(),
            "expires_on": (now + lifetime as i64).to_string(),
            "ext_expires_in": lifetime.to_string(),
            "not_before": (now - 300).to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
}

fn finish(result: Result<Value, OauthError>) -> Reply {
    let reply = match result {
        Ok(body) => Reply::json_status(200, body),
        Err(error) => refused(&error),
    };
    reply.with("cache-control", "no-store, no-cache").with("pragma", "no-cache")
}

/// The documented error: the description begins with the AADSTS number.
fn refused(error: &OauthError) -> Reply {
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M:%SZ");
    let (trace, correlation) = (fresh_guid(), fresh_guid());
    let number = error.number;
    let description = format!(
        "AADSTS{number}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}",
        error.text
    );
    Reply::json_status(
        error.status,
        json!({
            "error": error.error,
            "error_description": description,
            "error_codes": [number],
            "timestamp": now.to_string(),
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        }),
    )
}

fn known(world: &World, tenant: &str) -> Result<(), OauthError> {
    let credentials = &world.authority.credentials;
    let names = [credentials.tenant_id.as_str(), credentials.domain.as_str()];
    if names.iter().any(|name| name.eq_ignore_ascii_case(tenant)) {
        return Ok(());
    }
    let text = format!(
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
    );
    Err(oauth(400, "invalid_request", 90_002, text))
}

/// The resources tokens are issued for.
fn audiences(call: &Call) -> [String; 2] {
    [call.roots.graph.clone(), "https://graph.microsoft.com".into()]
}

struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn need(&self, name: &str) -> Result<&str, OauthError> {
        self.get(name).ok_or_else(|| {
            let text = format!("The request body must contain the following parameter: '{name}'.");
            oauth(400, "invalid_request", 900_144, text)
        })
    }
}

/// The form; `Authorization: Basic` counts as two of its fields.
fn form(call: &Call) -> Form {
    let mut fields = pairs(&String::from_utf8_lossy(&call.body));
    let basic = call.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let plain = basic.and_then(|text| data_encoding::BASE64.decode(text.as_bytes()).ok());
    let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some((id, secret)) = plain.as_ref().and_then(|text| text.split_once(':')) {
        fields.push(("client_id".into(), decoded(id)));
        fields.push(("client_secret".into(), decoded(secret)));
    }
    Form(fields)
}

fn token(world: &World, call: &Call, tenant: &str) -> Result<Value, OauthError> {
    if call.method != http::Method::POST {
        let text = "Endpoint only accepts POST requests. Received a GET request.";
        return Err(oauth(400, "invalid_request", 900_561, text));
    }
    known(world, tenant)?;
    let form = form(call);
    let grant = form.need("grant_type")?;
    check_client(world, &form)?;
    match grant {
        "client_credentials" => client_credentials(world, call, &form),
        "urn:ietf:params:oauth:grant-type:device_code" => device_token(world, call, &form),
        "refresh_token" => refresh(world, call, &form),
        other => {
            let text = format!("The grant type '{other}' is not supported.");
            Err(oauth(400, "unsupported_grant_type", 70_003, text))
        }
    }
}

fn check_client(world: &World, form: &Form) -> Result<(), OauthError> {
    let client = form.need("client_id")?;
    let credentials = &world.authority.credentials;
    if client.eq_ignore_ascii_case(&credentials.client_id) {
        return Ok(());
    }
    let text = format!(
        "Application with identifier '{client}' was not found in the directory '{}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.",
        credentials.domain
    );
    Err(oauth(400, "unauthorized_client", 700_016, text))
}

fn client_credentials(world: &World, call: &Call, form: &Form) -> Result<Value, OauthError> {
    let authority = &world.authority;
    let scope = form.need("scope")?;
    let good = audiences(call).map(|root| format!("{root}/.default"));
    // A scope that names no resource is Graph's.
    if scope != ".default" && !good.iter().any(|good| good == scope) {
        let text = if scope.ends_with("/.default") {
            format!(
                "The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."
            )
        } else {
            format!(
                "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {scope} does not end in '/.default'."
            )
        };
        return Err(oauth(400, "invalid_scope", 70_011, text));
    }
    if let Some(assertion) = form.get("client_assertion") {
        let kind = form.need("client_assertion_type")?;
        if kind != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
            let text = "The value of 'client_assertion_type' is not supported.";
            return Err(oauth(400, "invalid_request", 900_144, text));
        }
        authority.check_assertion(assertion, &assertion_audiences(world, call))?;
    } else if let Some(secret) = form.get("client_secret") {
        authority.check_secret(secret)?;
    } else {
        let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(oauth(401, "invalid_client", 7_000_218, text));
    }
    let lifetime = authority.lifetime();
    Ok(json!({
        "token_type": "Bearer",
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": authority.mint(&call.roots, None),
    }))
}

/// The token endpoint under every name it has, and the issuer.
fn assertion_audiences(world: &World, call: &Call) -> Vec<String> {
    let credentials = &world.authority.credentials;
    let mut all = Vec::new();
    for root in [call.roots.login.as_str(), "https://login.microsoftonline.com"] {
        for tenant in [&credentials.tenant_id, &credentials.domain] {
            all.push(format!("{root}/{tenant}/oauth2/v2.0/token"));
            all.push(format!("{root}/{tenant}/v2.0"));
        }
    }
    all
}

fn device_code(world: &World, call: &Call, tenant: &str) -> Result<Value, OauthError> {
    known(world, tenant)?;
    let form = form(call);
    check_client(world, &form)?;
    let scope = form.need("scope")?.to_owned();
    let code = fresh_guid().replace('-', "");
    let user_code = code[..9].to_uppercase();
    let grant = DeviceGrant { polls_left: world.options.device_polls, scope };
    let mut grants = world.authority.grants.lock().expect("no panic under this lock");
    grants.devices.insert(code.clone(), grant);
    let page = format!("{}/common/oauth2/deviceauth", call.roots.login);
    Ok(json!({
        "user_code": user_code,
        "device_code": code,
        "verification_uri": page,
        "expires_in": 900,
        "interval": 1,
        "message": format!("To sign in, use a web browser to open the page {page} and enter the code {user_code} to authenticate."),
    }))
}

fn device_token(world: &World, call: &Call, form: &Form) -> Result<Value, OauthError> {
    let code = form.need("device_code")?;
    let scope = {
        let mut grants = world.authority.grants.lock().expect("no panic under this lock");
        let Some(grant) = grants.devices.get_mut(code) else {
            let text = "The 'device_code' is invalid.";
            return Err(oauth(400, "bad_verification_code", 70_018, text));
        };
        if grant.polls_left > 0 {
            grant.polls_left -= 1;
            let text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling.";
            return Err(oauth(400, "authorization_pending", 70_016, text));
        }
        let scope = grant.scope.clone();
        grants.devices.remove(code);
        scope
    };
    Ok(delegated(world, call, &scope))
}

fn refresh(world: &World, call: &Call, form: &Form) -> Result<Value, OauthError> {
    let token = form.need("refresh_token")?;
    let mut grants = world.authority.grants.lock().expect("no panic under this lock");
    let Some(scope) = grants.refresh.remove(token) else {
        let text = "The provided authorization code or refresh token has expired due to inactivity or has been used already.";
        return Err(oauth(400, "invalid_grant", 70_008, text));
    };
    drop(grants);
    Ok(delegated(world, call, form.get("scope").unwrap_or(&scope)))
}

/// Tokens for the first user, who is the one to sign in.
fn delegated(world: &World, call: &Call, scope: &str) -> Value {
    let authority = &world.authority;
    let user = world.tenant.people.first().map_or("", |person| person.id.as_str());
    let oidc = ["openid", "profile", "email", "offline_access"];
    let asked = scope.split(' ').map(|name| name.rsplit_once('/').map_or(name, |(_, name)| name));
    let mut granted: Vec<&str> = asked.filter(|name| !oidc.contains(name)).collect();
    if granted.contains(&".default") {
        granted = authority.credentials.roles.iter().map(String::as_str).collect();
    }
    let granted = granted.join(" ");
    let mut body = json!({
        "token_type": "Bearer",
        "scope": granted,
        "expires_in": authority.lifetime(),
        "ext_expires_in": authority.lifetime(),
        "access_token": authority.mint(&call.roots, Some((user, &granted))),
    });
    if scope.split(' ').any(|name| name == "offline_access") {
        let token = format!("0.{}{}", fresh_guid(), fresh_guid());
        let mut grants = authority.grants.lock().expect("no panic under this lock");
        grants.refresh.insert(token.clone(), scope.to_owned());
        body["refresh_token"] = token.into();
    }
    body
}

fn discovery(world: &World, call: &Call, tenant: &str) -> Reply {
    if let Err(error) = known(world, tenant) {
        return refused(&error);
    }
    let root = format!("{}/{tenant}", call.roots.login);
    let id = &world.authority.credentials.tenant_id;
    Reply::json_status(
        200,
        json!({
            "token_endpoint": format!("{root}/oauth2/v2.0/token"),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": format!("{root}/discovery/v2.0/keys"),
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": format!("{}/{id}/v2.0", call.roots.login),
            "authorization_endpoint": format!("{root}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{root}/oauth2/v2.0/devicecode"),
            "end_session_endpoint": format!("{root}/oauth2/v2.0/logout"),
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
            "cloud_graph_host_name": "graph.windows.net",
            "msgraph_host": call.roots.graph.split("://").nth(1),
        }),
    )
}

fn instances(world: &World, call: &Call) -> Reply {
    let host = call.roots.login.split("://").nth(1).unwrap_or_default();
    let tenant = &world.authority.credentials.tenant_id;
    let endpoint = format!("{}/{tenant}/v2.0/.well-known/openid-configuration", call.roots.login);
    Reply::json_status(
        200,
        json!({
            "tenant_discovery_endpoint": endpoint,
            "api-version": "1.1",
            "metadata": [{
                "preferred_network": host,
                "preferred_cache": host,
                "aliases": [host, "login.microsoftonline.com"],
            }],
        }),
    )
}
