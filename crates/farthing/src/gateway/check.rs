//! Whether a gateway could be served now, without serving.

use std::fmt;

use farthing_ledger::keyfile::{self, KeyFileError};

use super::build::{AUTHORIZER, PAYEE, bind, listen, upstream};
use super::config::Config;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What: `listen`, `upstream`, `keys`...
    pub what: &'static str,
    /// How it is, or what is wrong with it.
    pub found: Result<String, String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Ok(said) | Err(said)) = &self.found;
        write!(f, "{:<10}{said}", self.what)
    }
}

impl Config {
    /// Looks at everything that serving needs: ports, certificate, keys, the upstream, facilitators. Nothing is made, and
    /// nobody is served.
    pub async fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |what, found| findings.push(Finding { what, found });
        add("routes", Ok(self.routes().join("; ")));
        add("listen", bind(&self.listen).await.map(|_| self.listen.0.to_string()).map_err(|e| e.to_string()));
        if let Some(metrics) = &self.metrics {
            add("metrics", bind(metrics).await.map(|_| metrics.0.to_string()).map_err(|e| e.to_string()));
        }
        if let Some(tls) = &self.tls {
            let said = format!("certificate {}", tls.certificate.display());
            add("tls", listen(self).map(|_| said).map_err(|error| error.to_string()));
        }
        add("keys", self.check_keys());
        let reached = match upstream(self) {
            Ok(upstream) => upstream.probe().await.map_err(|why| self.upstream.1.fault(why).to_string()),
            Err(error) => Err(error.to_string()),
        };
        add("upstream", reached.map(|status| format!("{} answers {status}", self.upstream.0)));
        for network in &self.networks {
            let said = format!("{} pays {}", network.network, network.pay_to);
            add("network", self.check_network(network).await.map(|()| said));
        }
        findings
    }

    /// Keys that are there can be used; those that are not will be made.
    fn check_keys(&self) -> Result<String, String> {
        let data = &self.data.0;
        let mut said = Vec::new();
        for name in [PAYEE, AUTHORIZER] {
            if name == PAYEE && self.payee.is_some() {
                continue;
            }
            match keyfile::load(data.join(name)) {
                Ok(key) if name == PAYEE => said.push(format!("{name} is account {}", key.public())),
                Ok(_) => said.push(name.to_owned()),
                Err(KeyFileError::Io(_, error)) if error.kind() == std::io::ErrorKind::NotFound => {
                    said.push(format!("{name} will be made"));
                }
                Err(error) => return Err(self.data.1.fault(error).to_string()),
            }
        }
        Ok(said.join(", "))
    }

    #[cfg(not(feature = "evm"))]
    async fn check_network(&self, network: &super::config::NetworkEntry) -> Result<(), String> {
        Err(network.place.fault("this program was built without chains").to_string())
    }

    #[cfg(feature = "evm")]
    async fn check_network(&self, network: &super::config::NetworkEntry) -> Result<(), String> {
        use super::config::Settled;
        use farthing_protocol::rail::Facilitator as _;
        let fault = |why: &dyn fmt::Display| network.place.fault(why).to_string();
        match &network.settled {
            Settled::Remote(url) => {
                let remote = farthing_facilitator::RemoteFacilitator::builder(url).build();
                let supported = remote.map_err(|error| fault(&error))?.supported().await;
                let supported = supported.map_err(|error| fault(&error))?;
                let settles = supported.kinds.iter().any(|kind| kind.network == network.network.as_str());
                settles.then_some(()).ok_or_else(|| fault(&"its facilitator settles nothing there"))
            }
            Settled::Here { rpc, key } => {
                farthing_rail_evm::EvmKey::from_file(key).map_err(|error| fault(&error))?;
                farthing_rail_evm::Rpc::new(rpc).map(|_| ()).map_err(|error| fault(&error))
            }
        }
    }
}
