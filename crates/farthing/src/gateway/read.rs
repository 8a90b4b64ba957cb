//! From the tables of a gateway's file to values that were checked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use farthing_protocol::{Network, Origin, Price, PublicKey, WireError};
use farthing_server::gateway::{Methods, routes::Routes};
use http::{HeaderName, Method};
use toml::Spanned;

use super::config::{
    Caller, Config, Limits, Metered, NetworkEntry, Period, QuotaEntry, RouteEntry, Sale, Settled, Tls,
};
use super::place::{ConfigError, Place};
use super::tables::{self, Document, Text};

/// Decimal places of the assets of the gateway's own ledger.
const SCALE: u8 = 6;
/// Characters of a message of the parser that are shown.
const SHOWN: usize = 300;
const MIB: u64 = 1024 * 1024;
/// Bytes of what is sold, in words. It stands in the header with the terms, of which clients read 8 KiB.
const DESCRIPTION_BYTES: usize = 1000;
/// Bytes of a name.
const NAME_BYTES: usize = 200;
/// The longest pass: about ten years.
const LONGEST_PERIOD: Duration = Duration::from_secs(3660 * 86_400);

/// A file and its text, to say where in it something is wrong.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

type Checked<T> = Result<T, ConfigError>;

impl Source<'_> {
    pub(super) fn read(&self) -> Checked<Config> {
        let document: Document = toml::from_str(self.text).map_err(|error| {
            let why: String = error.message().chars().filter(|c| !c.is_control()).take(SHOWN).collect();
            match error.span() {
                Some(span) => {
                    let key = self.key_at(span.start).filter(|_| !why.starts_with("missing field"));
                    Place::of(self.path, self.text, &span, key).fault(why)
                }
                None => ConfigError::whole(self.path, why),
            }
        })?;
        let listen = self.address("listen", &document.listen)?;
        let origin = self.origin("origin", &document.origin)?;
        if document.tls.is_some() && !origin.is_https() {
            return Err(self.fault("origin", &document.origin, "must begin with https://, because of [tls]"));
        }
        let upstream = self.origin("upstream", &document.upstream)?;
        if upstream == origin || upstream.as_str() == format!("http://{}", listen.0) {
            return Err(self.fault("upstream", &document.upstream, "is the gateway itself"));
        }
        let metrics = document.metrics.as_ref().map(|text| self.address("metrics", text)).transpose()?;
        if let (Some(text), Some((metrics, _))) = (&document.metrics, &metrics)
            && *metrics == listen.0
            && metrics.port() != 0
        {
            return Err(self.fault("metrics", text, "must be another address than `listen`"));
        }
        let tls = document.tls.as_ref().map(|tls| Tls {
            certificate: self.file(&tls.certificate),
            key: self.file(&tls.key),
            place: self.place("tls", &tls.certificate),
        });
        let upstream_ca = document.upstream_ca.as_ref();
        if let (Some(text), false) = (upstream_ca, upstream.is_https()) {
            return Err(self.fault("upstream_ca", text, "is for https upstreams"));
        }
        if document.data.get_ref().is_empty() {
            return Err(self.fault("data", &document.data, "must name a directory"));
        }
        let payee = document.payee.as_ref().map(|text| self.payee(text)).transpose()?;
        let top_up = document.top_up.as_ref().is_some_and(|top_up| *top_up.get_ref());
        let limits = self.limits(&document.limits)?;
        let routes = self.routes(&document.route, &limits, top_up)?;
        Ok(Config {
            path: self.path.to_owned(),
            listen,
            origin,
            upstream: (upstream, self.place("upstream", &document.upstream)),
            upstream_ca: upstream_ca.map(|text| (self.file(text), self.place("upstream_ca", text))),
            data: (self.file(&document.data), self.place("data", &document.data)),
            payee,
            metrics,
            top_up,
            title: document.title.as_ref().map(|text| self.words("title", text, NAME_BYTES)).transpose()?,
            tls,
            limits,
            networks: self.networks(&document.network)?,
            routes,
        })
    }

    /// The key of the line that the byte `at` is in.
    fn key_at(&self, at: usize) -> Option<&str> {
        let begins = self.text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
        let (key, _) = self.text.get(begins..)?.lines().next()?.split_once('=')?;
        let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        Some(key.trim()).filter(|key| !key.is_empty() && key.chars().all(is_bare))
    }

    fn place<T>(&self, key: &str, at: &Spanned<T>) -> Place {
        Place::of(self.path, self.text, &at.span(), Some(key))
    }

    fn fault<T>(&self, key: &str, at: &Spanned<T>, why: impl std::fmt::Display) -> ConfigError {
        self.place(key, at).fault(why)
    }

    /// Beside the file, unless it says where.
    fn file(&self, text: &Text) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(text.get_ref())
    }

    fn address(&self, key: &str, text: &Text) -> Checked<(SocketAddr, Place)> {
        let why = "must be an address and a port, such as \"127.0.0.1:4021\"";
        let address = text.get_ref().parse().map_err(|_| self.fault(key, text, why))?;
        Ok((address, self.place(key, text)))
    }

    fn origin(&self, key: &str, text: &Text) -> Checked<Origin> {
        text.get_ref().parse().map_err(|error: WireError| {
            let why = match error {
                WireError::Field { why, .. } => why.to_string(),
                error => error.to_string(),
            };
            self.fault(key, text, why)
        })
    }

    fn payee(&self, text: &Text) -> Checked<PublicKey> {
        let why = "must be an account: a public key of 64 lower-case hexadecimal digits";
        text.get_ref().parse().map_err(|_| self.fault("payee", text, why))
    }

    fn limits(&self, table: &tables::Limits) -> Checked<Limits> {
        let number = |key: &str, value: &Option<Spanned<u64>>, default: u64, most: u64| match value {
            None => Ok(default),
            Some(value) if (1..=most).contains(value.get_ref()) => Ok(*value.get_ref()),
            Some(value) => Err(self.fault(&format!("limits.{key}"), value, format!("must be 1 to {most}"))),
        };
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let seconds = |number| Duration::from_secs(number);
        let head_bytes = number("head_bytes", &table.head_bytes, 64 * 1024, MIB)?;
        Ok(Limits {
            body_bytes: size(number("body_bytes", &table.body_bytes, MIB, 1024 * MIB)?),
            head_bytes: size(head_bytes.max(4096)),
            request: seconds(number("request_seconds", &table.request_seconds, 60, 3600)?),
            connect: seconds(number("upstream_connect_seconds", &table.upstream_connect_seconds, 5, 600)?),
            shutdown: seconds(number("shutdown_seconds", &table.shutdown_seconds, 30, 3600)?),
            connections: size(number("connections", &table.connections, 1024, 1_000_000)?),
        })
    }

    fn networks(&self, tables: &[tables::Network]) -> Checked<Vec<NetworkEntry>> {
        let mut networks: Vec<NetworkEntry> = Vec::new();
        for table in tables {
            let key = "network.network";
            let fault = |why: &str| Err(self.fault(key, &table.network, why));
            let Ok(network) = table.network.get_ref().parse::<Network>() else {
                return fault("must be a network, such as \"eip155:8453\"");
            };
            if network.namespace() != "eip155" {
                return fault("must be an eip155 network: the gateway's own ledger is always there");
            }
            if cfg!(not(feature = "evm")) {
                return fault("this program was built without chains");
            }
            if networks.iter().any(|other| other.network == network) {
                return fault("is named twice");
            }
            let settled = match (&table.facilitator, &table.rpc, &table.key) {
                (Some(url), None, None) => Settled::Remote(self.url("network.facilitator", url)?),
                (None, Some(rpc), Some(key)) => {
                    if rpc.get_ref().is_empty() {
                        return Err(self.fault("network.rpc", rpc, "must name one URL at least"));
                    }
                    let urls = rpc.get_ref().iter().map(|url| self.url("network.rpc", url));
                    Settled::Here { rpc: urls.collect::<Checked<_>>()?, key: self.file(key) }
                }
                _ => return fault("needs either `facilitator`, or `rpc` and `key`"),
            };
            let place = self.place("network", &table.network);
            networks.push(NetworkEntry { network, pay_to: table.pay_to.get_ref().clone(), settled, place });
        }
        Ok(networks)
    }

    /// A URL, which is not repeated in messages: it may hold a key.
    fn url(&self, key: &str, text: &Text) -> Checked<String> {
        match Origin::of_url(text.get_ref()) {
            Ok(_) => Ok(text.get_ref().clone()),
            Err(_) => Err(self.fault(key, text, "must be an http or https URL")),
        }
    }

    fn routes(&self, tables: &[tables::Route], limits: &Limits, top_up: bool) -> Checked<Vec<RouteEntry>> {
        if tables.is_empty() {
            return Err(ConfigError::whole(self.path, "has no [[route]]: nothing would be served"));
        }
        let (mut routes, mut known) = (Vec::new(), Routes::default());
        for table in tables {
            let route = self.route(table, limits, top_up)?;
            let inserted = known.insert(&route.pattern, route.methods.clone(), route.place.line());
            inserted.map_err(|error| route.place.fault(error))?;
            routes.push(route);
        }
        Ok(routes)
    }

    fn route(&self, table: &tables::Route, limits: &Limits, top_up: bool) -> Checked<RouteEntry> {
        let methods = match &table.methods {
            None => Methods::All,
            Some(methods) => self.methods(methods)?,
        };
        let is_free = table.free.as_ref().is_some_and(|free| *free.get_ref());
        let sale = match (&table.price, is_free) {
            (Some(price), false) => Some(self.sale(table, price, top_up)?),
            (None, true) => {
                self.nothing_sold(table)?;
                None
            }
            (Some(price), true) => return Err(self.fault("route.price", price, "is not for a free route")),
            (None, false) => {
                return Err(self.fault("route.path", &table.path, "needs `price`, or `free = true`"));
            }
        };
        let is_bound = sale.as_ref().is_some_and(|sale| sale.bind_body);
        let body_bytes = match &table.body_bytes {
            Some(bytes) if is_bound => {
                let why = "is for free routes, and with `bind_body = false`; else `limits.body_bytes` holds";
                return Err(self.fault("route.body_bytes", bytes, why));
            }
            Some(bytes) => Some(usize::try_from(*bytes.get_ref()).unwrap_or(usize::MAX)),
            None if is_bound => None,
            None => Some(limits.body_bytes),
        };
        let place = self.place("route.path", &table.path);
        Ok(RouteEntry { pattern: table.path.get_ref().clone(), methods, sale, body_bytes, place })
    }

    fn methods(&self, texts: &Spanned<Vec<Text>>) -> Checked<Methods> {
        let mut methods = Vec::new();
        for text in texts.get_ref() {
            let fault = |why: &str| Err(self.fault("route.methods", text, why));
            let name = text.get_ref();
            let method = match Method::from_bytes(name.as_bytes()) {
                Ok(method) if name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') => method,
                _ => return fault("must be a method, such as \"GET\""),
            };
            match method {
                Method::TRACE | Method::CONNECT => return fault("is never forwarded"),
                Method::OPTIONS => return fault("is free wherever there is a price"),
                method if methods.contains(&method) => return fault("is named twice"),
                method => methods.push(method),
            }
        }
        match methods.is_empty() {
            true => Err(self.fault("route.methods", texts, "must name one method at least")),
            false => Ok(Methods::Some(methods)),
        }
    }

    /// Refuses what means nothing where nothing is sold.
    fn nothing_sold(&self, table: &tables::Route) -> Checked<()> {
        let why = "is not for a free route";
        let texts = [
            ("or_price", &table.or_price),
            ("pass", &table.pass),
            ("subscription", &table.subscription),
            ("per_event", &table.per_event),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                return Err(self.fault(&format!("route.{key}"), text, why));
            }
        }
        if let Some(quota) = &table.quota {
            return Err(self.fault("route.quota", quota, why));
        }
        if let Some(unit) = &table.per_bytes {
            return Err(self.fault("route.per_bytes", unit, why));
        }
        for (key, flag) in [("up_to", &table.up_to), ("bind_body", &table.bind_body)] {
            if let Some(flag) = flag {
                return Err(self.fault(&format!("route.{key}"), flag, why));
            }
        }
        Ok(())
    }

    fn sale(&self, table: &tables::Route, price: &Text, top_up: bool) -> Checked<Sale> {
        let asked = self.price("route.price", price)?;
        let or_price = table.or_price.as_ref();
        let or_price = or_price
            .map(|text| Ok((self.price("route.or_price", text)?, self.place("route.or_price", text))));
        let or_price = or_price.transpose()?;
        let why = "must be in XTS, because `top_up` gives test money away";
        if top_up && asked.currency() != "XTS" {
            return Err(self.fault("route.price", price, why));
        }
        if let Some((_, place)) = or_price.as_ref().filter(|(price, _)| top_up && price.currency() != "XTS") {
            return Err(place.fault(why));
        }
        let metered = self.metered(table, &asked)?;
        let period = self.period(table)?;
        if let (Some((_, place)), Some(_)) = (&period, &metered) {
            return Err(place.fault("cannot be sold by what is used"));
        }
        let quota = table.quota.as_ref().map(|quota| self.quota(quota)).transpose()?;
        let name = match &table.name {
            None => table.path.get_ref().clone(),
            Some(name) => self.words("route.name", name, NAME_BYTES)?,
        };
        let (description, mime_type) = (table.description.as_ref(), table.mime_type.as_ref());
        let description = description.map(|text| self.words("route.description", text, DESCRIPTION_BYTES));
        let mime_type = mime_type.map(|text| self.words("route.mime_type", text, NAME_BYTES));
        Ok(Sale {
            price: (asked, self.place("route.price", price)),
            or_price,
            name,
            description: description.transpose()?,
            mime_type: mime_type.transpose()?,
            period,
            quota,
            metered,
            bind_body: table.bind_body.as_ref().is_none_or(|bind| *bind.get_ref()),
        })
    }

    /// One line that is not empty.
    fn words(&self, key: &str, text: &Text, most: usize) -> Checked<String> {
        let words = text.get_ref();
        match !words.is_empty() && words.len() <= most && words.chars().all(|c| !c.is_control()) {
            true => Ok(words.clone()),
            false => Err(self.fault(key, text, format!("must be one line of 1 to {most} bytes"))),
        }
    }

    fn price(&self, key: &str, text: &Text) -> Checked<Price> {
        let price: Result<Price, _> = text.get_ref().parse();
        let price = price.map_err(|error| self.fault(key, text, error))?;
        if !matches!(price.currency(), "USD" | "XTS") {
            return Err(self.fault(key, text, "must be in USD or XTS, which the gateway's ledger has"));
        }
        price.to_atomic(SCALE).map_err(|error| self.fault(key, text, error))?;
        Ok(price)
    }

    fn metered(&self, table: &tables::Route, most: &Price) -> Checked<Option<(Metered, Place)>> {
        let up_to = table.up_to.as_ref().filter(|up_to| *up_to.get_ref());
        let needs = "needs `up_to = true`";
        let Some(up_to) = up_to else {
            return match (&table.per_event, &table.per_bytes) {
                (Some(unit), _) => Err(self.fault("route.per_event", unit, needs)),
                (_, Some(unit)) => Err(self.fault("route.per_bytes", unit, needs)),
                (None, None) => Ok(None),
            };
        };
        let metered = match (&table.per_event, &table.per_bytes) {
            (Some(unit), None) => Metered::PerEvent(self.unit("route.per_event", unit, most)?),
            (None, Some(unit)) => {
                let table = unit.get_ref();
                if *table.bytes.get_ref() == 0 {
                    return Err(self.fault("route.per_bytes", &table.bytes, "must be above zero"));
                }
                Metered::PerBytes(*table.bytes.get_ref(), self.unit("route.per_bytes", &table.price, most)?)
            }
            _ => return Err(self.fault("route.up_to", up_to, "needs one of `per_event` and `per_bytes`")),
        };
        Ok(Some((metered, self.place("route.up_to", up_to))))
    }

    /// The price of one unit, which must fit into the most that is taken.
    fn unit(&self, key: &str, text: &Text, most: &Price) -> Checked<Price> {
        let unit = self.price(key, text)?;
        if unit.currency() != most.currency() {
            return Err(self.fault(key, text, format!("must be in {}, like `price`", most.currency())));
        }
        match (unit.to_atomic(SCALE), most.to_atomic(SCALE)) {
            (Ok(unit), Ok(most)) if unit > most => Err(self.fault(key, text, "is above `price`, the most")),
            _ => Ok(unit),
        }
    }

    fn period(&self, table: &tables::Route) -> Checked<Option<(Period, Place)>> {
        let Some(pass) = &table.pass else {
            return match &table.subscription {
                Some(text) => Err(self.fault("route.subscription", text, "needs `pass`, its length")),
                None => Ok(None),
            };
        };
        let length = self.duration("route.pass", pass)?;
        let place = self.place("route.pass", pass);
        let Some(text) = &table.subscription else { return Ok(Some((Period::Pass(length), place))) };
        let name = text.get_ref();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            let why = "must be a name of letters, digits, `-`, `_` and `.`";
            return Err(self.fault("route.subscription", text, why));
        }
        Ok(Some((Period::Subscription(name.clone(), length), place)))
    }

    fn quota(&self, quota: &Spanned<tables::Quota>) -> Checked<(QuotaEntry, Place)> {
        let table = quota.get_ref();
        let requests = u32::try_from(*table.requests.get_ref()).ok().filter(|requests| *requests > 0);
        let why = "must be 1 to 4294967295";
        let requests = requests.ok_or_else(|| self.fault("route.quota", &table.requests, why))?;
        let by = match table.by.get_ref().split_once(':') {
            None if table.by.get_ref() == "address" => Caller::Address,
            Some(("header", name)) => match name.to_ascii_lowercase().parse::<HeaderName>() {
                Ok(name) => Caller::Header(name),
                Err(_) => return Err(self.fault("route.quota", &table.by, "names no header")),
            },
            _ => {
                let why = "must be \"address\", or \"header:\" with the name of one";
                return Err(self.fault("route.quota", &table.by, why));
            }
        };
        let per = self.duration("route.quota", &table.per)?;
        Ok((QuotaEntry { requests, per, by }, self.place("route.quota", quota)))
    }

    /// `90s`, `30m`, `24h`, `7d`.
    fn duration(&self, key: &str, text: &Text) -> Checked<Duration> {
        let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
        let length = units.iter().find_map(|(unit, seconds)| {
            let number = text.get_ref().strip_suffix(*unit)?;
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(*seconds).map(Duration::from_secs)
        });
        match length {
            Some(length) if !length.is_zero() && length <= LONGEST_PERIOD => Ok(length),
            _ => Err(self.fault(key, text, "must be a time, such as \"90s\", \"30m\", \"24h\" or \"7d\"")),
        }
    }
}
