//! Device code: a person signs in elsewhere (FACTS 1.6, RFC 8628).

use oauth2::basic::BasicTokenResponse;
use oauth2::{
    DeviceAuthorizationResponse, ErrorResponseType, ExtraDeviceAuthorizationFields,
    RequestTokenError, Scope,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::exchange::{Exchange, SIGN_IN};
use crate::login::Refused;

/// Entra's own words to the person.
#[derive(Debug, Deserialize, Serialize)]
struct Message {
    message: Option<String>,
}

impl ExtraDeviceAuthorizationFields for Message {}

impl Exchange {
    /// Asks for a code, shows it, and polls until the person has signed in: `oauth2` keeps the
    /// interval, slows down when told, and ends with the code's life.
    pub(crate) async fn device_code(
        &self,
        prompt: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<BasicTokenResponse, Refused> {
        // A refresh token comes only with `offline_access`.
        let request = self.entra.client().exchange_device_code();
        let request = request
            .add_scope(Scope::new(self.entra.scope.clone()))
            .add_scope(Scope::new("offline_access".to_owned()));
        let code: DeviceAuthorizationResponse<Message> =
            request.request_async(self).await.map_err(|error| self.refused(error))?;
        prompt(&instructions(&code));
        let poll = self.entra.client().exchange_device_access_token(&code);
        let answer = poll.request_async(self, tokio::time::sleep, None).await;
        answer.map_err(|error| match &error {
            RequestTokenError::ServerResponse(answer) if is_expired(answer.error()) => {
                let error = Error::new(ErrorKind::Credentials, SIGN_IN);
                error
                    .with_code(Some("expired_token".to_owned()))
                    .with_message("code expired")
                    .into()
            }
            _ => self.refused(error),
        })
    }
}

fn is_expired(error: &impl ErrorResponseType) -> bool {
    serde_json::to_value(error).is_ok_and(|name| name == "expired_token")
}

fn instructions(code: &DeviceAuthorizationResponse<Message>) -> String {
    code.extra_fields().message.clone().unwrap_or_else(|| {
        format!(
            "To sign in, open {} and enter the code {}.",
            code.verification_uri().as_str(),
            code.user_code().secret()
        )
    })
}
