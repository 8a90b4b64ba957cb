//! `farthing wallet`: keys come back with the passphrase, and show nowhere else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::program::{Run, Server, farthing, farthing_with};

const PASSPHRASE: &str = "correct horse battery";
/// The first key that development chains open with: no secret.
#[cfg(feature = "evm")]
const EVM: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// The first key of RFC 8032.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// A home with a wallet in it, perhaps.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn wallet(&self) -> PathBuf {
        self.path(".farthing/wallet.json")
    }

    fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        let home = self.0.path().to_str().unwrap();
        let arguments: Vec<_> = ["wallet"].iter().chain(arguments).copied().collect();
        let environment: Vec<_> =
            [("HOME", home), ("RUST_LOG", "trace")].iter().chain(environment).copied().collect();
        farthing_with(&arguments, "", &environment)
    }

    /// Runs a command that is given the passphrase; neither it nor a secret shows.
    fn run(&self, arguments: &[&str]) -> Run {
        let run = self.run_with(arguments, &[("FARTHING_PASSPHRASE", PASSPHRASE)]);
        let shown = format!("{}{}", run.out, run.err);
        assert!(!shown.contains(PASSPHRASE), "{run:?}");
        assert!(arguments[0] == "export" || !shown.contains(SEED), "{run:?}");
        run
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn an_account_is_made_listed_and_exported() {
    let home = Home::new();
    let made = home.run(&["new", "agent", "--json"]).ends_with(0).json();
    assert_eq!((&made["name"], &made["kind"]), (&"agent".into(), &"farthing".into()));
    let from = home.file("seed", &format!("{SEED}\n"), 0o600);
    home.run(&["import", "shop", "--from", &from]).ends_with(0);
    let listed = home.run_with(&["list", "--json"], &[]).ends_with(0).json();
    assert_eq!(listed["accounts"][0]["public"], made["public"]);
    assert_eq!(listed["accounts"][1]["public"], PUBLIC);
    let address = home.run_with(&["address", "shop"], &[]).ends_with(0);
    assert_eq!((address.out.trim(), address.err.as_str()), (PUBLIC, ""));
    let exported = home.run(&["export", "shop"]).ends_with(0);
    assert_eq!(exported.out.trim(), SEED);
    assert!(exported.err.contains("SECRET") && !exported.err.contains(SEED), "{exported:?}");
    assert_eq!(home.run(&["export", "shop", "--json"]).ends_with(0).json()["secret"], SEED);
    assert!(!fs::read_to_string(home.wallet()).unwrap().contains(SEED));
}

#[test]
fn the_passphrase_comes_from_a_private_file_too_and_a_wrong_one_ends_with_1() {
    let home = Home::new();
    home.run(&["new", "agent"]).ends_with(0);
    let right = home.file("right", &format!("{PASSPHRASE}\n"), 0o600);
    let wrong = home.file("wrong", "correct horse batterz\n", 0o600);
    let open = home.file("open", &format!("{PASSPHRASE}\n"), 0o644);
    let export = |file: &str| home.run_with(&["export", "agent", "--passphrase-file", file], &[]);
    assert_eq!(export(&right).ends_with(0).out.len(), 65);
    let refused = export(&wrong).ends_with(1);
    assert!(refused.out.is_empty() && refused.err.contains("does not open"), "{refused:?}");
    assert_eq!(refused.err.trim().lines().count(), 1, "{refused:?}");
    assert!(export(&open).ends_with(1).err.contains("chmod 600"));
    let none = home.run_with(&["export", "agent"], &[]).ends_with(2);
    assert!(none.err.contains("FARTHING_PASSPHRASE"), "{none:?}");
    let short = home.run_with(&["new", "more"], &[("FARTHING_PASSPHRASE", "short")]).ends_with(2);
    assert!(short.err.contains("8 to 1024"), "{short:?}");
}

#[test]
fn a_wallet_that_was_changed_or_that_others_can_use_ends_with_1() {
    let home = Home::new();
    let missing = home.run(&["list"]).ends_with(2);
    assert!(missing.err.contains("wallet new"), "{missing:?}");
    home.run(&["new", "agent"]).ends_with(0);
    let sound = fs::read_to_string(home.wallet()).unwrap();
    fs::set_permissions(home.wallet(), fs::Permissions::from_mode(0o644)).unwrap();
    for command in [&["list"][..], &["address", "agent"], &["export", "agent"], &["new", "more"]] {
        assert!(home.run(command).ends_with(1).err.contains("chmod 600"));
    }
    fs::set_permissions(home.wallet(), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(home.wallet(), sound.replace("65536", "4294967295")).unwrap();
    assert!(home.run(&["export", "agent"]).ends_with(1).err.contains("than is allowed"));
    fs::write(home.wallet(), sound.replace("\"passes\": 3", "\"passes\": 4")).unwrap();
    assert!(home.run(&["export", "agent"]).ends_with(1).err.contains("does not open"));
    fs::write(home.wallet(), sound).unwrap();
    home.run(&["export", "agent"]).ends_with(0);
}

#[test]
fn names_and_keys_that_are_none_end_with_2() {
    let home = Home::new();
    home.run(&["new", "agent"]).ends_with(0);
    assert!(home.run(&["new", "agent"]).ends_with(2).err.contains("no key is ever replaced"));
    for name in ["", "Agent", "../x", "a_b", "1a", "a b"] {
        assert!(home.run(&["new", name]).ends_with(2).err.contains("begins with a letter"));
    }
    let bad = home.file("bad", &SEED[1..], 0o600);
    let refused = home.run(&["import", "bad", "--from", &bad]).ends_with(2);
    assert!(refused.err.contains("no secret key") && !refused.err.contains(&SEED[1..]), "{refused:?}");
    let open = home.file("readable", SEED, 0o644);
    home.run(&["import", "bad", "--from", &open]).ends_with(1);
    assert!(home.run(&["address", "nobody"]).ends_with(2).err.contains("no account nobody"));
    assert_eq!(home.run(&["list", "--json"]).json()["accounts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn processes_that_write_at_once_lose_nothing() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for name in ["one", "two", "three", "four"] {
            let home = &home;
            scope.spawn(move || home.run(&["new", name]).ends_with(0));
        }
    });
    assert_eq!(home.run(&["list"]).ends_with(0).out.lines().count(), 4);
    for name in ["one", "two", "three", "four"] {
        home.run(&["export", name]).ends_with(0);
    }
    // The wallet and its lock.
    assert_eq!(fs::read_dir(home.path(".farthing")).unwrap().count(), 2);
}

#[test]
fn a_key_in_the_environment_needs_no_wallet() {
    let home = Home::new();
    let run = |key: &str| home.run_with(&["address", "my-agent"], &[("FARTHING_KEY_MY_AGENT", key)]);
    assert_eq!(run(SEED).ends_with(0).out.trim(), PUBLIC);
    let refused = run(&SEED[1..]).ends_with(2);
    assert!(
        refused.err.contains("FARTHING_KEY_MY_AGENT") && !refused.err.contains(&SEED[1..]),
        "{refused:?}"
    );
}

#[cfg(feature = "evm")]
#[test]
fn keys_of_evm_chains_have_addresses_and_no_balance_on_a_ledger() {
    let home = Home::new();
    let from = home.file("key", EVM, 0o600);
    home.run(&["import", "base", "--from", &from]).ends_with(0);
    home.run(&["new", "other", "--evm"]).ends_with(0);
    let address = home.run(&["address", "base"]).ends_with(0).out;
    assert_eq!(address.trim(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    assert_eq!(home.run(&["export", "base"]).ends_with(0).out.trim(), EVM);
    let refused = home.run(&["balance", "base", "--data", "x"]).ends_with(2);
    assert!(refused.err.contains("EVM"), "{refused:?}");
}

#[test]
fn play_money_is_deposited_on_a_ledger_of_ones_own_and_nothing_else() {
    let home = Home::new();
    home.run(&["new", "agent"]).ends_with(0);
    let ledger = home.path("ledger");
    let data = ledger.to_str().unwrap();
    let missing = home.run(&["deposit", "agent", "1 XTS", "--data", data]).ends_with(2);
    assert!(missing.err.contains("holds no ledger") && !ledger.exists(), "{missing:?}");
    farthing(&["demo", "--requests", "2", "--json", "--data", data]).ends_with(0);
    let deposited = home.run(&["deposit", "agent", "1.5 XTS", "--data", data, "--json"]).ends_with(0).json();
    assert_eq!(deposited["deposited"], "1500000");
    let words = home.run(&["balance", "agent", "--data", data]).ends_with(0).out;
    assert!(words.contains("1.5 XTS") && words.contains("0 USD"), "{words}");
    for (amount, why) in
        [("1 USD", "only play money"), ("-1 XTS", "-1 XTS"), ("1000 XTS", ""), ("XTS", "XTS")]
    {
        let refused = home.run(&["deposit", "agent", "--data", data, "--", amount]).ends_with(2);
        assert!(refused.err.contains(why) && refused.out.is_empty(), "{amount}: {refused:?}");
    }
    let json = home.run(&["balance", "agent", "--data", data, "--json"]).ends_with(0).json();
    assert!(json["balances"].to_string().contains("\"1500000\""), "{json}");
    farthing(&["ledger", "check", "--data", data]).ends_with(0);

    // The same from afar, while a server has the ledger.
    let server = Server::start(&ledger, 0);
    let url = format!("{}/ledger", server.origin());
    let told = home.run(&["balance", "agent", "--ledger", &url, "--json"]).ends_with(0).json();
    assert_eq!(told, json);
    let nothing = home.run(&["balance", "agent", "--ledger", server.origin()]).ends_with(1);
    assert!(nothing.out.is_empty() && nothing.err.contains(server.origin()), "{nothing:?}");
}
