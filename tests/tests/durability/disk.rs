//! A model of a disk: what is on it for certain, and what is only on its way.
//!
//! It knows no more than POSIX promises. A flush of a file makes its bytes and its length durable and not its name;
//! a flush of a directory makes the names in it durable and nothing else. Whatever else was written may be there
//! after a crash, or not, each by itself and in any order.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use crate::recorder::{Call, Fd, Recording, Step};

/// The number of a file or directory.
pub(crate) type Node = usize;

/// The bytes of a file; zeros from the end of `bytes` to `length`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) length: u64,
}

impl Content {
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let from = usize::try_from(at).expect("a file that fits in memory");
        let to = from + bytes.len();
        if self.bytes.len() < to {
            self.bytes.resize(to, 0);
        }
        self.bytes[from..to].copy_from_slice(bytes);
        self.length = self.length.max(at + bytes.len() as u64);
    }

    pub(crate) fn resize(&mut self, length: u64) {
        self.bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        self.length = length;
    }
}

/// A change of a file.
#[derive(Clone, Debug)]
pub(crate) enum Change<'a> {
    Write { at: u64, bytes: &'a [u8] },
    Resize(u64),
}

/// A change of a directory: names that appear or vanish together.
pub(crate) type Naming = Vec<(String, Option<Node>)>;

/// A file, a directory or a socket: what is durable, and what was changed since, in order, by a number that grows.
#[derive(Clone, Debug)]
pub(crate) enum Body<'a> {
    File {
        durable: Content,
        pending: Vec<(u64, Change<'a>)>,
        length: u64,
        mode: u32,
    },
    Directory {
        durable: BTreeMap<String, Node>,
        pending: Vec<(u64, Naming)>,
        names: BTreeMap<String, Node>,
    },
    /// Where a process listens, or did.
    Socket,
}

/// An open file.
#[derive(Clone, Copy, Debug)]
struct Opened<'a> {
    node: Node,
    path: &'a Path,
    append: bool,
    /// Duplicates share it.
    offset: usize,
}

/// The disk, as far as the recording was followed.
#[derive(Debug)]
pub(crate) struct Disk<'a> {
    root: PathBuf,
    calls: &'a [Call],
    nodes: Vec<Body<'a>>,
    opened: HashMap<Fd, Opened<'a>>,
    offsets: Vec<u64>,
    /// Calls that have begun: the file they work on, and the last change that a flush can cover.
    begun: HashMap<usize, (Option<Opened<'a>>, u64)>,
    changes: u64,
}

pub(crate) const ROOT: Node = 0;

impl<'a> Disk<'a> {
    /// An empty directory `root`, before the recording.
    pub(crate) fn new(root: &Path, recording: &'a Recording) -> Self {
        Self {
            root: root.to_path_buf(),
            calls: &recording.calls,
            nodes: vec![directory()],
            opened: HashMap::new(),
            offsets: Vec::new(),
            begun: HashMap::new(),
            changes: 0,
        }
    }

    pub(crate) fn node(&self, node: Node) -> &Body<'a> {
        &self.nodes[node]
    }

    /// Whether anything is on its way.
    pub(crate) fn unflushed(&self) -> bool {
        self.nodes.iter().any(|body| match body {
            Body::File { pending, .. } => !pending.is_empty(),
            Body::Directory { pending, .. } => !pending.is_empty(),
            Body::Socket => false,
        })
    }

    /// What `fd` was opened by, as long as it is open.
    pub(crate) fn path(&self, fd: Fd) -> Option<&'a Path> {
        self.opened.get(&fd).map(|opened| opened.path)
    }

    /// One more step of the recording.
    pub(crate) fn follow(&mut self, step: &Step) {
        match *step {
            Step::Begin(at) => {
                let calls = self.calls;
                let opened = match &calls[at] {
                    Call::Close { fd } => self.opened.remove(fd),
                    Call::Write { fd, .. }
                    | Call::Resize { fd, .. }
                    | Call::Sync { fd }
                    | Call::Seek { fd, .. } => self.opened.get(fd).copied(),
                    Call::Duplicate { fd, .. } => self.opened.get(fd).copied(),
                    _ => None,
                };
                self.begun.insert(at, (opened, self.changes));
            }
            Step::End(at) => {
                let (opened, covered) = self.begun.remove(&at).expect("a call ends after it began");
                self.end(&self.calls[at], opened, covered);
            }
        }
    }

    fn end(&mut self, call: &'a Call, opened: Option<Opened<'a>>, covered: u64) {
        match call {
            Call::Open { path, create, truncate, append, mode, fd } => {
                let node = match self.find(path) {
                    Some(node) => node,
                    None if *create => self.create(path, file(*mode)),
                    None => panic!("{} is opened and was never made", path.display()),
                };
                if *truncate {
                    self.change(node, Change::Resize(0));
                }
                self.offsets.push(0);
                self.opened
                    .insert(*fd, Opened { node, path, append: *append, offset: self.offsets.len() - 1 });
            }
            Call::Close { .. } | Call::Say { .. } => {}
            // A descriptor of a file outside is none that we know.
            Call::Duplicate { to, .. } => {
                match opened {
                    Some(opened) => self.opened.insert(*to, opened),
                    None => self.opened.remove(to),
                };
            }
            Call::Seek { to, .. } => {
                let opened = opened.expect("an open file is sought in");
                self.offsets[opened.offset] = *to;
            }
            Call::Write { at, bytes, .. } => {
                let opened = opened.expect("an open file is written to");
                let start = match at {
                    Some(at) => *at,
                    None if opened.append => self.length(opened.node),
                    None => self.offsets[opened.offset],
                };
                if at.is_none() {
                    self.offsets[opened.offset] = start + bytes.len() as u64;
                }
                self.change(opened.node, Change::Write { at: start, bytes });
            }
            Call::Resize { length, .. } => {
                self.change(opened.expect("an open file is resized").node, Change::Resize(*length));
            }
            Call::Sync { .. } => self.flush(opened.expect("an open file is flushed").node, covered),
            Call::MakeDirectory { path } => {
                self.create(path, directory());
            }
            Call::MakeSocket { path } => {
                self.create(path, Body::Socket);
            }
            Call::Link { from, to } => {
                let node = self.find(from).expect("what is linked exists");
                self.name(to, vec![(name(to), Some(node))]);
            }
            Call::Rename { from, to } => {
                let node = self.find(from).expect("what is renamed exists");
                assert_eq!(from.parent(), to.parent(), "the model knows renames within a directory");
                self.name(to, vec![(name(from), None), (name(to), Some(node))]);
            }
            Call::Remove { path } => self.name(path, vec![(name(path), None)]),
        }
    }

    fn create(&mut self, path: &Path, body: Body<'a>) -> Node {
        self.nodes.push(body);
        let node = self.nodes.len() - 1;
        self.name(path, vec![(name(path), Some(node))]);
        node
    }

    fn name(&mut self, path: &Path, naming: Naming) {
        self.changes += 1;
        let parent = path.parent().and_then(|parent| self.find(parent));
        let Body::Directory { pending, names, .. } =
            &mut self.nodes[parent.expect("names are in directories")]
        else {
            panic!("{} is in a file", path.display());
        };
        apply(names, &naming);
        pending.push((self.changes, naming));
    }

    fn change(&mut self, node: Node, change: Change<'a>) {
        self.changes += 1;
        let Body::File { pending, length, .. } = &mut self.nodes[node] else {
            panic!("a directory is written to")
        };
        *length = match change {
            Change::Write { at, bytes } => (*length).max(at + bytes.len() as u64),
            Change::Resize(length) => length,
        };
        pending.push((self.changes, change));
    }

    fn length(&self, node: Node) -> u64 {
        match &self.nodes[node] {
            Body::File { length, .. } => *length,
            Body::Directory { .. } | Body::Socket => 0,
        }
    }

    /// Makes durable what was changed up to and with `covered`.
    fn flush(&mut self, node: Node, covered: u64) {
        fn flushed<T>(pending: &mut Vec<(u64, T)>, covered: u64) -> std::vec::Drain<'_, (u64, T)> {
            let count = pending.iter().take_while(|(number, _)| *number <= covered).count();
            pending.drain(..count)
        }
        match &mut self.nodes[node] {
            Body::File { durable, pending, .. } => {
                flushed(pending, covered).for_each(|(_, change)| durable.change(&change));
            }
            Body::Directory { durable, pending, .. } => {
                flushed(pending, covered).for_each(|(_, naming)| apply(durable, &naming));
            }
            Body::Socket => {}
        }
    }

    /// What a path names now, flushed or not.
    pub(crate) fn find(&self, path: &Path) -> Option<Node> {
        let mut node = ROOT;
        for part in path.strip_prefix(&self.root).ok()?.components() {
            let (Component::Normal(part), Body::Directory { names, .. }) = (part, &self.nodes[node]) else {
                return None;
            };
            node = *names.get(part.to_str()?)?;
        }
        Some(node)
    }
}

impl Content {
    pub(crate) fn change(&mut self, change: &Change<'_>) {
        match change {
            Change::Write { at, bytes } => self.write(*at, bytes),
            Change::Resize(length) => self.resize(*length),
        }
    }
}

pub(crate) fn apply(names: &mut BTreeMap<String, Node>, naming: &Naming) {
    for (name, node) in naming {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}

fn name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("a path with a name").to_owned()
}

fn file<'a>(mode: u32) -> Body<'a> {
    Body::File { durable: Content::default(), pending: Vec::new(), length: 0, mode }
}

fn directory<'a>() -> Body<'a> {
    Body::Directory { durable: BTreeMap::new(), pending: Vec::new(), names: BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::rebuild::{VARIANTS, Variant, rebuild};
    use Step::{Begin, End};

    fn open(path: &str, fd: Fd) -> Call {
        Call::Open { path: path.into(), create: true, truncate: false, append: false, mode: 0o600, fd }
    }

    fn write(fd: Fd, text: &str) -> Call {
        Call::Write { fd, at: None, bytes: text.into() }
    }

    /// One call after the other.
    fn in_order(calls: Vec<Call>) -> Recording {
        let steps = (0..calls.len()).flat_map(|at| [Begin(at), End(at)]).collect();
        Recording { calls, steps }
    }

    /// The files that are found, with their content.
    fn found(recording: &Recording, variant: Variant, seed: u64) -> BTreeMap<String, String> {
        let mut disk = Disk::new(Path::new("/d"), recording);
        recording.steps.iter().for_each(|step| disk.follow(step));
        let target = tempfile::tempdir().unwrap();
        rebuild(&disk, variant, seed, target.path()).unwrap();
        let files = target.path().read_dir().unwrap().map(|entry| entry.unwrap());
        let read = |file: std::fs::DirEntry| {
            (file.file_name().into_string().unwrap(), std::fs::read_to_string(file.path()).unwrap())
        };
        files.map(read).collect()
    }

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
    }

    #[test]
    fn a_flush_of_a_file_keeps_its_bytes_and_a_flush_of_its_directory_its_name() {
        let mut calls = vec![open("/d/a", 3), write(3, "kept"), Call::Sync { fd: 3 }, write(3, " and lost")];
        assert_eq!(found(&in_order(calls.clone()), Variant::Lost, 0), files(&[]));
        let directory =
            Call::Open { path: "/d".into(), create: false, truncate: false, append: false, mode: 0, fd: 4 };
        calls.extend([directory, Call::Sync { fd: 4 }]);
        assert_eq!(found(&in_order(calls), Variant::Lost, 0), files(&[("a", "kept")]));
    }

    #[test]
    fn a_flush_covers_what_had_ended_when_it_began() {
        let calls = vec![open("/d/a", 3), write(3, "before "), Call::Sync { fd: 3 }, write(3, "beside")];
        let steps = [Begin(0), End(0), Begin(1), End(1), Begin(2), Begin(3), End(3), End(2)].to_vec();
        let recording = Recording { calls, steps };
        let mut disk = Disk::new(Path::new("/d"), &recording);
        recording.steps.iter().for_each(|step| disk.follow(step));
        let Body::File { durable, pending, length, .. } = disk.node(disk.find(Path::new("/d/a")).unwrap())
        else {
            panic!("a file");
        };
        assert_eq!((durable.bytes.as_slice(), pending.len(), *length), (&b"before "[..], 1, 13));
    }

    #[test]
    fn a_renamed_file_has_one_of_its_names() {
        let directory =
            Call::Open { path: "/d".into(), create: false, truncate: false, append: false, mode: 0, fd: 4 };
        let (from, to) = ("/d/new".into(), "/d/current".into());
        let calls = vec![open("/d/new", 3), directory, Call::Sync { fd: 4 }, Call::Rename { from, to }];
        let recording = in_order(calls);
        let names: std::collections::BTreeSet<_> = (0..40)
            .map(|seed| found(&recording, Variant::Names, seed).into_keys().collect::<Vec<_>>())
            .collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), [["current"], ["new"]]);
    }

    #[test]
    fn what_is_on_its_way_arrives_in_every_way_and_the_same_way_for_the_same_seed() {
        let directory =
            Call::Open { path: "/d".into(), create: false, truncate: false, append: false, mode: 0, fd: 4 };
        let calls = vec![open("/d/a", 3), directory, Call::Sync { fd: 4 }, write(3, "one"), write(3, "two")];
        let recording = in_order(calls);
        let all = |variant| -> std::collections::BTreeSet<String> {
            (0..200).map(|seed| found(&recording, variant, seed)["a"].clone()).collect()
        };
        assert_eq!(all(Variant::Lost).len(), 1);
        let reordered = ["", "\0\0\0two", "one", "onetwo"].map(str::to_owned).into();
        assert_eq!(all(Variant::Reordered), reordered);
        assert!(all(Variant::Torn).contains("onet") && all(Variant::Storm).contains("\0\0\0"));
        for variant in VARIANTS {
            assert_eq!(found(&recording, variant, 7), found(&recording, variant, 7));
        }
    }
}
