//! Entra's error numbers and what a person can do about them (FACTS 1.2).

/// The number in a description such as `AADSTS7000215: Invalid client secret …`.
pub(crate) fn number(description: &str) -> Option<u32> {
    let (_, rest) = description.split_once("AADSTS")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

pub(crate) fn hint(number: Option<u32>, error: &str) -> Option<&'static str> {
    match (number, error) {
        (Some(7000215), _) => Some("the client secret is wrong: use its value, not its id"),
        (Some(7000222), _) => Some("the client secret has expired: make a new one"),
        (Some(700016), _) => Some("the app is not in this tenant: check client id and tenant"),
        (Some(700027), _) => {
            Some("the certificate is not registered with the app, or its key does not fit")
        }
        (Some(700024), _) => Some("the clock of this machine is wrong: the assertion is too old"),
        (Some(90002), _) => Some("there is no such tenant in this cloud: check tenant and cloud"),
        (Some(53003), _) => Some("conditional access blocks the app: exclude it from the policy"),
        (Some(500011), _) => Some("this tenant does not know Microsoft Graph: check the cloud"),
        (_, "authorization_declined" | "access_denied") => Some("the sign-in was declined"),
        (_, "expired_token") => Some("nobody signed in in time: start again"),
        (_, "invalid_grant") => Some("the sign-in is no longer valid: sign in again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found() {
        assert_eq!(number("AADSTS70011: The provided value"), Some(70011));
        assert_eq!(number("AADSTS7"), Some(7));
        assert_eq!(number("AADSTS: x"), None);
        assert_eq!(number(""), None);
    }
}
