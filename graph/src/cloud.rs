//! The sovereign clouds and what differs between them (FACTS 1.1).

use std::str::FromStr;

use crate::config::UnknownName;

/// Selects login host, Graph root, token scope and federated audience together; none of them is
/// ever derived from a link the service sends (FACTS 1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cloud {
    /// The public cloud, which also serves US GCC.
    #[default]
    Global,
    /// US Government L4.
    GccHigh,
    /// US Government L5.
    Dod,
    /// Operated by 21Vianet.
    China,
}

impl Cloud {
    /// The authority that issues tokens.
    pub fn login_host(self) -> &'static str {
        match self {
            Cloud::Global => "login.microsoftonline.com",
            Cloud::GccHigh | Cloud::Dod => "login.microsoftonline.us",
            Cloud::China => "login.chinacloudapi.cn",
        }
    }

    /// The service root, without `/v1.0`.
    pub fn graph_root(self) -> &'static str {
        match self {
            Cloud::Global => "https://graph.microsoft.com",
            Cloud::GccHigh => "https://graph.microsoft.us",
            Cloud::Dod => "https://dod-graph.microsoft.us",
            Cloud::China => "https://microsoftgraph.chinacloudapi.cn",
        }
    }

    /// The scope of an app-only token.
    pub fn scope(self) -> String {
        format!("{}/.default", self.graph_root())
    }

    /// The audience that a token for a federated credential must have (FACTS 1.4).
    pub fn federated_audience(self) -> &'static str {
        match self {
            Cloud::Global => "api://AzureADTokenExchange",
            Cloud::GccHigh | Cloud::Dod => "api://AzureADTokenExchangeUSGov",
            Cloud::China => "api://AzureADTokenExchangeChina",
        }
    }
}

impl FromStr for Cloud {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Cloud, UnknownName> {
        match name {
            "global" => Ok(Cloud::Global),
            "gcc-high" => Ok(Cloud::GccHigh),
            "dod" => Ok(Cloud::Dod),
            "china" => Ok(Cloud::China),
            _ => Err(UnknownName::new(name, "global, gcc-high, dod, china")),
        }
    }
}
