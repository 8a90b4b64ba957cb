//! The file that `farthing gateway init` writes.

use farthing_protocol::{Origin, Price};

use super::config::Config;

impl Config {
    /// The text of a file to begin with, for the server at `upstream`, where every request costs `price`.
    #[must_use]
    pub fn example(upstream: &Origin, price: &Price) -> String {
        let is_play = price.currency() == "XTS";
        let top_up = if is_play { "top_up = true" } else { "# top_up = true" };
        let amount = match price.currency() {
            "USD" => format!("${}", price.to_string().split(' ').next().unwrap_or_default()),
            _ => price.to_string(),
        };
        format!(
            r#"# farthing gateway: what is charged for, in front of another server. `farthing gateway --check` says whether
# it can be served; spec/gateway.md has every key.

listen = "127.0.0.1:4021"           # where connections are accepted
origin = "http://127.0.0.1:4021"    # where clients reach it: part of what payers sign
upstream = "{upstream}"    # the server behind it; keep clients from reaching that in another way
data = "farthing-data"              # ledger, keys and sales; made when missing, beside this file

# payee = "<account>"               # who is paid; else the account of payee.key in `data`
# metrics = "127.0.0.1:9102"        # Prometheus, on a listener of its own
{top_up: <36}# test money for everybody: prices in XTS only

# [tls]                             # then `origin` begins with https://
# certificate = "cert.pem"          # the whole chain
# key = "key.pem"

# [limits]                          # the defaults
# body_bytes = 1048576              # of a request's body; more is answered 413
# head_bytes = 65536                # of a request's line and headers; more is answered 431
# request_seconds = 60              # until the upstream answers; then 504, and nothing is charged
# upstream_connect_seconds = 5      # then 502, and nothing is charged
# shutdown_seconds = 30             # for requests that are there when it is asked to stop
# connections = 1024                # at the same time

# [[network]]                       # take USDC as well
# network = "eip155:8453"
# pay_to = "0x..."
# facilitator = "https://..."       # or `rpc = ["https://..."]` and `key = "facilitator.key"`

# The most specific path wins. {{name}} stands for one segment, {{*name}} for all that follow. Nothing else is served.
[[route]]
path = "/{{*path}}"
price = "{amount}"
description = "One page"
# methods = ["GET"]                 # else every method; HEAD belongs to GET
# pass = "24h"                      # one payment opens the page for this long
# subscription = "pro"              # ... and every route with the same name
# quota = {{ requests = 10, per = "1d", by = "address" }}   # free before; or by = "header:x-api-key"

[[route]]
path = "/"
free = true

[[route]]
path = "/favicon.ico"
free = true

[[route]]
path = "/robots.txt"
free = true
"#
        )
    }
}
