use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;

const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn seed() -> Secret {
    Secret::of_text(SEED, "a test").unwrap()
}

/// A keystore with the account `shop`.
fn keystore() -> (TempDir, Keystore) {
    let directory = tempfile::tempdir().unwrap();
    let keystore = Keystore::at(directory.path().join("made/wallet.json"));
    keystore.add(name("shop"), seed(), &passphrase("correct horse")).unwrap();
    (directory, keystore)
}

fn open(keystore: &Keystore) -> Result<Secret, KeystoreError> {
    keystore.secret(&name("shop"), &passphrase("correct horse"))
}

#[test]
fn a_key_comes_back_with_the_passphrase_and_its_public_part_without() {
    let (_directory, keystore) = keystore();
    let account = keystore.account(&name("shop")).unwrap();
    assert_eq!((account.kind, account.public.as_str()), (Kind::Farthing, PUBLIC));
    assert_eq!(open(&keystore).unwrap().reveal().as_str(), SEED);
    assert!(matches!(keystore.account(&name("none")), Err(KeystoreError::Unknown { .. })));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(keystore.path()), mode(keystore.path().parent().unwrap())), (0o600, 0o700));
    let file = fs::read_to_string(keystore.path()).unwrap();
    assert!(!file.contains(SEED) && file.contains(PUBLIC));
}

#[test]
fn another_passphrase_opens_nothing_and_adds_nothing() {
    let (_directory, keystore) = keystore();
    let wrong = passphrase("correct horsf");
    assert!(matches!(keystore.secret(&name("shop"), &wrong), Err(KeystoreError::Sealed(_))));
    assert!(matches!(keystore.add(name("more"), seed(), &wrong), Err(KeystoreError::Sealed(_))));
    assert_eq!(keystore.accounts().unwrap().len(), 1);
    assert!(Passphrase::new(Zeroizing::new("1234567".to_owned())).is_err());
    assert!(passphrase("12345678").is(&passphrase("12345678")));
}

#[test]
fn a_taken_name_is_refused_and_its_key_stays() {
    let (_directory, keystore) = keystore();
    let other = Secret::draw(Kind::Farthing).unwrap();
    let again = keystore.add(name("shop"), other, &passphrase("correct horse"));
    assert!(matches!(again, Err(KeystoreError::Taken { .. })));
    assert_eq!(open(&keystore).unwrap().reveal().as_str(), SEED);
}

#[test]
fn a_change_of_any_byte_is_noticed() {
    let (_directory, keystore) = keystore();
    let sound = fs::read(keystore.path()).unwrap();
    let opens = || open(&keystore).is_ok();
    assert!(opens());
    let text = String::from_utf8(sound.clone()).unwrap();
    let mut derived = 0;
    for (at, byte) in sound.iter().enumerate() {
        let mut changed = sound.clone();
        // Another hex digit for a digit, so that what is found out is not only what cannot be read.
        changed[at] = match byte {
            b'0' => b'1',
            b'a' => b'b',
            byte => byte ^ 1,
        };
        fs::write(keystore.path(), &changed).unwrap();
        match keystore.accounts() {
            // One in a few of those that only the tag finds out: each costs a derivation.
            Ok(_) if derived % 16 == 0 || text[..at].ends_with(": \"") => {
                assert!(!opens(), "byte {at}");
                derived += 1;
            }
            Ok(_) => derived += 1,
            Err(error) => assert!(matches!(error, KeystoreError::Damaged { .. }), "byte {at}: {error}"),
        }
    }
    assert!(derived > 100, "{derived}");
    for cut in [0, 1, sound.len() / 2, sound.len() - 1] {
        fs::write(keystore.path(), &sound[..cut]).unwrap();
        assert!(matches!(open(&keystore), Err(KeystoreError::Damaged { .. })));
    }
    fs::write(keystore.path(), &sound).unwrap();
    assert!(opens());
}

#[test]
fn regions_that_only_the_tag_covers_are_found_out_with_the_passphrase() {
    let (_directory, keystore) = keystore();
    let sound = fs::read_to_string(keystore.path()).unwrap();
    let hex_after = |field: &str| {
        let start = sound.find(&format!("\"{field}\": \"")).unwrap() + field.len() + 5;
        let digit = if &sound[start..=start] == "0" { "1" } else { "0" };
        format!("{}{digit}{}", &sound[..start], &sound[start + 1..])
    };
    let mut changed: Vec<_> = ["salt", "public", "nonce", "sealed"].map(hex_after).into();
    changed.push(sound.replace("\"passes\": 3", "\"passes\": 2"));
    changed.push(sound.replace("\"memory_kib\": 65536", "\"memory_kib\": 65535"));
    changed.push(sound.replace("\"lanes\": 1", "\"lanes\": 2"));
    for changed in changed {
        assert_ne!(changed, sound);
        fs::write(keystore.path(), &changed).unwrap();
        assert!(matches!(open(&keystore), Err(KeystoreError::Sealed(_))), "{changed}");
    }
    let renamed = sound.replace("\"shop\"", "\"shoq\"");
    fs::write(keystore.path(), renamed).unwrap();
    let renamed = keystore.secret(&name("shoq"), &passphrase("correct horse"));
    assert!(matches!(renamed, Err(KeystoreError::Sealed(_))));
    fs::write(keystore.path(), sound).unwrap();
    assert!(open(&keystore).is_ok());
}

#[test]
fn a_hostile_file_cannot_ask_for_more_than_is_allowed() {
    let (_directory, keystore) = keystore();
    let sound = fs::read_to_string(keystore.path()).unwrap();
    for (is, hostile) in [
        ("\"memory_kib\": 65536", "\"memory_kib\": 4294967295"),
        ("\"memory_kib\": 65536", "\"memory_kib\": 262145"),
        ("\"memory_kib\": 65536", "\"memory_kib\": 8"),
        ("\"passes\": 3", "\"passes\": 4294967295"),
        ("\"passes\": 3", "\"passes\": 1"),
        ("\"lanes\": 1", "\"lanes\": 16777215"),
        ("\"lanes\": 1", "\"lanes\": 0"),
        ("argon2id", "argon2d"),
        ("\"version\": 1", "\"version\": 2"),
    ] {
        let hostile = sound.replace(is, hostile);
        assert_ne!(hostile, sound);
        fs::write(keystore.path(), hostile).unwrap();
        assert!(matches!(open(&keystore), Err(KeystoreError::Damaged { .. })));
    }
    fs::write(keystore.path(), " ".repeat(300 << 10)).unwrap();
    assert!(matches!(keystore.accounts(), Err(KeystoreError::Damaged { why: "it is too large", .. })));
    fs::write(keystore.path(), sound).unwrap();
    assert!(open(&keystore).is_ok());
}

#[test]
fn a_file_that_others_can_use_is_refused_until_they_cannot() {
    let (_directory, keystore) = keystore();
    let set = |mode| fs::set_permissions(keystore.path(), fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o666, 0o601] {
        set(mode);
        assert!(
            matches!(keystore.accounts(), Err(KeystoreError::Permissions { mode: said, .. }) if said == mode)
        );
        let added = keystore.add(name("more"), seed(), &passphrase("correct horse"));
        assert!(matches!(added, Err(KeystoreError::Permissions { .. })));
    }
    set(0o400);
    assert!(open(&keystore).is_ok());
    assert!(matches!(Keystore::at("/").accounts(), Err(KeystoreError::Damaged { .. })));
    assert!(matches!(Keystore::at("/none/none").accounts(), Err(KeystoreError::Missing(_))));
}

#[test]
fn writers_at_once_lose_nothing_and_leave_nothing() {
    let (_directory, keystore) = keystore();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let keystore = &keystore;
            scope.spawn(move || {
                let name = name(&format!("agent-{number}"));
                keystore
                    .add(name, Secret::draw(Kind::Farthing).unwrap(), &passphrase("correct horse"))
                    .unwrap();
            });
        }
    });
    let names: Vec<_> = keystore.accounts().unwrap().into_iter().map(|a| a.name.to_string()).collect();
    assert_eq!(names, ["agent-0", "agent-1", "agent-2", "agent-3", "shop"]);
    // What a killed process left is in nobody's way.
    fs::write(keystore.path().with_extension("json.new"), "half").unwrap();
    keystore.add(name("late"), seed(), &passphrase("correct horse")).unwrap();
    assert_eq!(keystore.secret(&name("late"), &passphrase("correct horse")).unwrap().reveal().as_str(), SEED);
    assert_eq!(fs::read_dir(keystore.path().parent().unwrap()).unwrap().count(), 2);
}

#[test]
fn a_wallet_behind_a_link_is_replaced_where_it_is() {
    let (directory, keystore) = keystore();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(keystore.path(), &link).unwrap();
    Keystore::at(&link).add(name("more"), seed(), &passphrase("correct horse")).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(keystore.accounts().unwrap().len(), 2);
}

#[test]
fn names_are_short_and_plain() {
    for good in ["a", "shop", "a-1", &"a".repeat(32)] {
        assert_eq!(name(good).as_str(), good);
    }
    assert_eq!(name("my-agent").variable(), "FARTHING_KEY_MY_AGENT");
    for bad in ["", "1a", "-a", "A", "a b", "a_b", "a/b", "../a", "a\n", "\u{fc}", &"a".repeat(33)] {
        assert!(bad.parse::<Name>().is_err(), "{bad:?}");
    }
}

#[test]
fn secrets_print_nothing_and_what_is_no_key_is_not_quoted() {
    let secret = seed();
    assert_eq!(format!("{secret:?}"), "Secret(farthing, ..)");
    assert_eq!(format!("{:?}", passphrase("correct horse")), "Passphrase(..)");
    for bad in [&SEED[1..], &SEED.to_uppercase(), "0x1234", &format!("{SEED}0")] {
        let error = Secret::of_text(bad, "the file x").unwrap_err();
        assert!(error.to_string().starts_with("the file x") && !format!("{error} {error:?}").contains(bad));
    }
}

#[cfg(feature = "evm")]
#[test]
fn keys_of_evm_chains_are_kept_beside_the_others() {
    // The first key that development chains open with: no secret.
    let text = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let (_directory, keystore) = keystore();
    let account =
        keystore.add(name("base"), Secret::of_text(text, "x").unwrap(), &passphrase("correct horse"));
    assert_eq!(account.unwrap().public, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    let secret = keystore.secret(&name("base"), &passphrase("correct horse")).unwrap();
    assert_eq!(secret.reveal().as_str(), text);
    assert!(secret.farthing().is_none() && secret.evm().is_some());
    assert!(open(&keystore).unwrap().evm().is_none());
    assert!(Secret::of_text(&format!("0x{}", "0".repeat(64)), "x").is_err());
}
