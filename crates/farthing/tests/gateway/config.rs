//! The file: what is understood, and where it says that it is not.

use farthing::gateway::Config;
use farthing::protocol::Price;

const TOP: &str = "listen = \"127.0.0.1:4021\"\norigin = \"http://127.0.0.1:4021\"\nupstream = \"http://127.0.0.1:8080\"\ndata = \"d\"\n";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "/etc/shop").map_err(|error| error.to_string())
}

#[track_caller]
fn refused(text: &str, line: usize, words: &str) {
    let error = parse(text).expect_err(text);
    assert!(error.starts_with(&format!("/etc/shop/gateway.toml:{line}: ")), "{error}");
    assert!(error.contains(words), "{words}: {error}");
}

#[test]
fn what_init_writes_is_understood() {
    for (upstream, price, has) in [
        ("http://127.0.0.1:8080", "$0.01", "price = \"$0.01\""),
        ("https://api.example.com", "0.5 XTS", "top_up = true  "),
    ] {
        let price: Price = price.parse().unwrap();
        let text = Config::example(&upstream.parse().unwrap(), &price);
        assert!(text.contains(has), "{text}");
        let config = Config::parse(&text, "").unwrap();
        assert_eq!(config.upstream().as_str(), upstream);
        assert!(config.routes()[0].contains(&price.to_string()), "{:?}", config.routes());
        for line in text.lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }
}

#[test]
fn everything_in_the_specification_is_understood() {
    let text = format!(
        r#"{TOP}
metrics = "127.0.0.1:9102"
title = "A shop"

[limits]
body_bytes = 100
head_bytes = 8192
request_seconds = 5
upstream_connect_seconds = 1
shutdown_seconds = 2
connections = 10

[[route]]
path = "/a/{{id}}"
methods = ["GET", "POST"]
price = "$0.01"
or_price = "0.5 XTS"
name = "a"
description = "An a"
mime_type = "text/plain"
pass = "24h"
subscription = "pro"
quota = {{ requests = 10, per = "1d", by = "header:x-api-key" }}

[[route]]
path = "/b"
price = "$1"
up_to = true
per_bytes = {{ bytes = 1024, price = "$0.001" }}

[[route]]
path = "/upload"
methods = ["PUT"]
price = "$1"
bind_body = false
body_bytes = 1000000

[[route]]
path = "/{{*rest}}"
free = true
body_bytes = 10
"#
    );
    let config = parse(&text).unwrap();
    assert_eq!(config.routes().len(), 4);
    assert_eq!(config.routes()[0], "GET, POST /a/{id} costs 0.01 USD for 1d of pro");
    assert_eq!(config.data(), std::path::Path::new("/etc/shop/d"));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let route = |body: &str| format!("{TOP}[[route]]\npath = \"/a\"\n{body}\n");
    refused(&format!("{TOP}colour = 1\n"), 5, "unknown field `colour`");
    refused(&TOP.replace("\"d\"", "5"), 4, "`data`: invalid type");
    refused(&format!("{TOP}data = \"e\"\n"), 5, "`data`: duplicate key");
    refused(&TOP.replace(":8080", ":4021"), 3, "`upstream`: is the gateway itself");
    refused(
        &TOP.replace("origin = \"http://127.0.0.1:4021\"", "origin = \"https://a.example\"")
            .replace(":8080", ":4021"),
        3,
        "itself",
    );
    refused(&TOP.replace("127.0.0.1:4021\"\norigin", "here\"\norigin"), 1, "`listen`");
    refused(&TOP.replace("http://127.0.0.1:8080", "http://127.0.0.1:8080/app"), 3, "path");
    refused(&TOP.replace("http://127.0.0.1:8080", "ftp://x"), 3, "`upstream`");
    refused(&format!("{TOP}payee = \"alice\"\n[[route]]\npath = \"/\"\nfree = true\n"), 5, "64 lower-case");
    refused(&format!("{TOP}[limits]\nbody_bytes = 0\n"), 6, "`limits.body_bytes`");
    refused(&format!("{TOP}[tls]\ncertificate = \"c\"\nkey = \"k\"\n"), 2, "https");
    refused(&format!("{TOP}top_up = true\n[[route]]\npath = \"/\"\nprice = \"$1\"\n"), 8, "XTS");
    let both = "price = \"1 XTS\"\nor_price = \"$1\"";
    refused(&format!("{TOP}top_up = true\n[[route]]\npath = \"/\"\n{both}\n"), 9, "XTS");
    refused(&route(""), 6, "needs `price`");
    refused(&route("price = \"$0.0000001\""), 7, "finer than one unit");
    refused(&route("price = \"$0\""), 7, "zero");
    refused(&route("price = \"1 EUR\""), 7, "USD or XTS");
    refused(&route("price = \"$1\"\nfree = true"), 7, "free route");
    refused(&route("free = true\npass = \"1h\""), 8, "`route.pass`");
    refused(&route("price = \"$1\"\npass = \"soon\""), 8, "such as");
    let described =
        |length: usize| route(&format!("price = \"$1\"\ndescription = \"{}\"", "x".repeat(length)));
    assert!(parse(&described(1000)).is_ok());
    refused(&described(1001), 8, "`route.description`: must be one line of 1 to 1000 bytes");
    refused(&route("price = \"$1\"\nmime_type = \"text/\\nhtml\""), 8, "`route.mime_type`");
    refused(&route("price = \"$1\"\nname = \"\""), 8, "`route.name`");
    refused(&format!("{TOP}title = \"\"\n[[route]]\npath = \"/\"\nfree = true\n"), 5, "`title`");
    refused(&route("price = \"$1\"\nsubscription = \"pro\""), 8, "needs `pass`");
    refused(&route("price = \"$1\"\nper_event = \"$0.1\""), 8, "up_to");
    refused(&route("price = \"$1\"\nup_to = true"), 8, "needs one of");
    let metered = "price = \"$1\"\nup_to = true\nper_event = \"$0.1\"\npass = \"1h\"";
    refused(&route(metered), 10, "`route.pass`: cannot be sold by what is used");
    refused(&route(&format!("{metered}\nsubscription = \"pro\"")), 10, "`route.pass`");
    refused(&route("price = \"$1\"\nup_to = true\nper_event = \"$2\""), 9, "above `price`");
    refused(
        &route("price = \"$1\"\nquota = { requests = 0, per = \"1d\", by = \"address\" }"),
        8,
        "must be 1",
    );
    refused(&route("price = \"$1\"\nquota = { requests = 1, per = \"1d\", by = \"name\" }"), 8, "header:");
    refused(&route("price = \"$1\"\nmethods = [\"get\"]"), 8, "method");
    refused(&route("price = \"$1\"\nmethods = [\"TRACE\"]"), 8, "never forwarded");
    refused(&route("price = \"$1\"\nbody_bytes = 10"), 8, "bind_body");
    refused(&format!("{}[[route]]\npath = \"/a\"\nfree = true\n", route("free = true")), 9, "GET already");
    refused(&format!("{}[[route]]\npath = \"/%61\"\nfree = true\n", route("free = true")), 9, "decoded");
    let two = "[[route]]\npath = \"/x/{a}\"\nfree = true\n[[route]]\npath = \"/x/{b}\"\nfree = true\n";
    refused(&format!("{TOP}{two}"), 9, "\"/x/{a}\"");
    let error = parse(TOP).unwrap_err();
    assert!(error.contains("no [[route]]"), "{error}");
}

#[test]
fn a_chain_has_either_a_facilitator_or_nodes_and_a_key() {
    let network = |more: &str| {
        let table = "[[network]]\nnetwork = \"eip155:84532\"\npay_to = \"0x209693Bc6afc0C5328bA36FaF03C514EF312287C\"";
        format!("{TOP}{table}\n{more}\n[[route]]\npath = \"/\"\nprice = \"$1\"\n")
    };
    let whole = ["facilitator = \"https://x.example\"", "rpc = [\"http://127.0.0.1:8545\"]\nkey = \"k\""];
    if cfg!(not(feature = "evm")) {
        return refused(&network(whole[0]), 6, "built without chains");
    }
    for more in whole {
        parse(&network(more)).unwrap();
    }
    refused(&network(""), 6, "either `facilitator`, or `rpc` and `key`");
    refused(&network("rpc = []\nkey = \"k\""), 8, "one URL");
    // A URL may hold a key, and is not repeated.
    refused(&network("facilitator = \"secret\""), 8, "must be an http or https URL");
    let error = parse(&network("facilitator = \"secret\"")).unwrap_err();
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn the_example_is_understood() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/gateway.toml");
    let config = Config::read(example).unwrap();
    assert_eq!(config.listen().to_string(), "127.0.0.1:4021");
    assert_eq!(config.routes().iter().filter(|route| route.contains("costs")).count(), 2);
}
