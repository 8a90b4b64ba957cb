//! The contracts of `tests/contracts`, compiled when they have changed, and the calls of their functions.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// One argument of a function.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// `address`, as 0x and 40 hex digits.
    Address(&'a str),
    /// `uint…`.
    Number(u128),
    /// The greatest `uint256`.
    Everything,
    /// `bytes32`, as 0x and 64 hex digits.
    Word(&'a str),
    /// `string`.
    Text(&'a str),
    /// `bytes`.
    Bytes(&'a [u8]),
}

/// What all contracts are, once per process.
static CONTRACTS: LazyLock<Contracts> = LazyLock::new(Contracts::compiled);

#[derive(Debug)]
struct Contracts {
    /// Runtime code (0x…) by name.
    codes: HashMap<String, String>,
    /// Four bytes in hex by the function's signature.
    selectors: HashMap<String, String>,
}

/// The runtime code of a contract, as 0x and hex digits.
pub(super) fn code(contract: &str) -> &'static str {
    CONTRACTS.codes.get(contract).unwrap_or_else(|| panic!("tests/contracts has no {contract}"))
}

/// The data of a call of a function of any contract here, such as `mint(address,uint256)`.
pub fn call_data(function: &str, arguments: &[Argument<'_>]) -> String {
    let selector = CONTRACTS.selectors.get(function);
    let selector = selector.unwrap_or_else(|| panic!("no contract of tests/contracts has {function}"));
    let (mut head, mut tail) = (String::new(), String::new());
    for argument in arguments {
        let dynamic = match argument {
            Argument::Address(address) => {
                head += &format!("{:0>64}", plain(address).to_lowercase());
                continue;
            }
            Argument::Number(number) => {
                head += &format!("{number:064x}");
                continue;
            }
            Argument::Everything => {
                head += &"f".repeat(64);
                continue;
            }
            Argument::Word(word) => {
                head += plain(word);
                continue;
            }
            Argument::Text(text) => text.as_bytes(),
            Argument::Bytes(bytes) => bytes,
        };
        head += &format!("{:064x}", arguments.len() * 32 + tail.len() / 2);
        tail += &format!("{:064x}", dynamic.len());
        let hex: String = dynamic.iter().map(|byte| format!("{byte:02x}")).collect();
        tail += &format!("{hex:0<width$}", width = dynamic.len().div_ceil(32) * 64);
    }
    format!("0x{selector}{head}{tail}")
}

fn plain(hex: &str) -> &str {
    hex.strip_prefix("0x").unwrap_or_else(|| panic!("{hex} does not begin with 0x"))
}

impl Contracts {
    fn compiled() -> Self {
        let sources = &sources();
        let directory = target().join("contracts");
        fs::create_dir_all(&directory).unwrap();
        let output = directory.join(format!("{:016x}.json", hash(sources)));
        // Tests begin together: one of them compiles.
        let lock = File::create(directory.join("lock")).unwrap();
        lock.lock().unwrap();
        if !output.exists() {
            let mut node = Command::new("node");
            node.arg(sources.join("compile.cjs")).arg(modules()).arg(&output);
            let said = node.output().unwrap_or_else(|error| panic!("node: {error}; {INSTALL}"));
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        }
        let all: Value = serde_json::from_slice(&fs::read(&output).unwrap()).unwrap();
        let (mut codes, mut selectors) = (HashMap::new(), HashMap::new());
        for (name, contract) in all.as_object().unwrap() {
            codes.insert(name.clone(), contract["runtime"].as_str().unwrap().to_owned());
            for (function, selector) in contract["selectors"].as_object().unwrap() {
                selectors.insert(function.clone(), selector.as_str().unwrap().to_owned());
            }
        }
        Self { codes, selectors }
    }
}

const INSTALL: &str = "`cargo xtask test` installs the compiler and the chain of the tests";

/// Where the contracts are, whichever crate includes this file.
fn sources() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = here.ancestors().map(|directory| directory.join("tests/contracts"));
    places.find(|place| place.is_dir()).expect("the workspace has contracts")
}

/// Changes with the sources, the compiler and how it is called.
fn hash(sources: &Path) -> u64 {
    let files = fs::read_dir(sources.join("src")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files.extend(["compile.cjs", "package-lock.json"].map(|name| sources.join(name)));
    let mut hasher = DefaultHasher::new();
    for file in files {
        fs::read(&file).unwrap().hash(&mut hasher);
    }
    hasher.finish()
}

/// The program of the chain.
pub(super) fn anvil() -> PathBuf {
    let packages = fs::read_dir(modules().join("@foundry-rs")).into_iter().flatten().flatten();
    let mut programs = packages.map(|package| package.path().join("bin/anvil"));
    programs.find(|program| program.is_file()).unwrap_or_else(|| panic!("no anvil; {INSTALL}"))
}

/// Where npm's packages are: below the directory named by `FARTHING_NPM`, else below the target directory.
fn modules() -> PathBuf {
    let root = std::env::var_os("FARTHING_NPM").map_or_else(|| target().join("npm"), PathBuf::from);
    let modules = root.join("contracts/node_modules");
    assert!(modules.join("solc").is_dir(), "no packages in {}; {INSTALL}", modules.display());
    modules
}

/// The target directory that this program was built in.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let marked = |directory: &&Path| directory.join("CACHEDIR.TAG").is_file();
    program.ancestors().skip(1).find(marked).expect("a test lies in the target directory").to_path_buf()
}
