//! Crash points by the hundred: at each, the directory is rebuilt in several variants, opened and judged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once};

use farthing_tests::line::Line;

use crate::disk::{Body, Disk, Node, ROOT};
use crate::rebuild::{Dice, VARIANTS, Variant, rebuild};
use crate::recorder::{self, Call, Recording, Step};
use crate::verdict::{Story, Verdict, judge_directory};

/// A run of the program, with the directory that it left.
pub(crate) struct Recorded {
    home: tempfile::TempDir,
    pub(crate) recording: Recording,
}

/// Records a run of the program with these arguments.
pub(crate) fn record(arguments: &[&str]) -> Recorded {
    let home = tempfile::tempdir().unwrap();
    let (root, replies) = (home.path().join("disk"), home.path().join("replies"));
    std::fs::create_dir(&root).unwrap();
    let data = root.join("data");
    let arguments: Vec<&str> =
        [data.to_str().unwrap()].into_iter().chain(arguments.iter().copied()).collect();
    let trace = recorder::run("strace", Path::new(env!("CARGO_BIN_EXE_recorded")), &arguments, &replies);
    let recording = recorder::read(&trace.unwrap(), &root, &replies).unwrap();
    Recorded { home, recording }
}

impl Recorded {
    pub(crate) fn root(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    /// Flushes of files whose path contains `part`.
    pub(crate) fn synced(&self, part: &str) -> usize {
        let mut disk = Disk::new(&self.root(), &self.recording);
        let mut count = 0;
        for step in &self.recording.steps {
            disk.follow(step);
            let Step::Begin(at) = *step else { continue };
            let Call::Sync { fd } = self.recording.calls[at] else { continue };
            count += usize::from(disk.path(fd).is_some_and(|path| path.to_string_lossy().contains(part)));
        }
        count
    }

    /// The same run, in which no file or directory whose path ends so was ever flushed.
    pub(crate) fn without_flushes_of(&self, suffix: &str) -> Recording {
        let mut recording = self.recording.clone();
        let mut disk = Disk::new(&self.root(), &self.recording);
        for step in &self.recording.steps {
            disk.follow(step);
            let Step::Begin(at) = *step else { continue };
            if let Call::Sync { fd } = self.recording.calls[at]
                && disk.path(fd).is_some_and(|path| path.to_string_lossy().ends_with(suffix))
            {
                recording.calls[at] = Call::Say { line: String::new() };
            }
        }
        recording
    }

    /// What the model says of the directory after the whole run, against the directory itself.
    pub(crate) fn check_model(&self) {
        let mut disk = Disk::new(&self.root(), &self.recording);
        self.recording.steps.iter().for_each(|step| disk.follow(step));
        compare(&disk, ROOT, &self.root());
    }
}

fn compare(disk: &Disk<'_>, node: Node, path: &Path) {
    match disk.node(node) {
        Body::Directory { names, .. } => {
            let found: BTreeSet<String> = path
                .read_dir()
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            assert_eq!(names.keys().cloned().collect::<BTreeSet<_>>(), found, "{}", path.display());
            for (name, node) in names {
                compare(disk, *node, &path.join(name));
            }
        }
        Body::Socket => {}
        Body::File { durable, pending, .. } => {
            let mut content = durable.clone();
            pending.iter().for_each(|(_, change)| content.change(change));
            let mut expected = std::mem::take(&mut content.bytes);
            expected.resize(usize::try_from(content.length).unwrap(), 0);
            assert!(expected == std::fs::read(path).unwrap(), "{} is not as recorded", path.display());
        }
    }
}

/// How thorough a campaign is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Crash points where everything unflushed is lost, of those at which something was just flushed or acknowledged.
    pub(crate) lost: usize,
    /// Crash points at which all variants are tried.
    pub(crate) mixed: usize,
    pub(crate) seed: u64,
}

/// What a campaign found.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) points: usize,
    pub(crate) whole: BTreeMap<Variant, u64>,
    pub(crate) refused: BTreeMap<(Variant, String), u64>,
    pub(crate) wrong: Vec<String>,
    /// Directories with everything acknowledged until then, and more.
    pub(crate) more_than_acknowledged: u64,
}

impl Figures {
    pub(crate) fn rebuilt(&self) -> u64 {
        self.whole.values().sum::<u64>() + self.refused.values().sum::<u64>() + self.wrong.len() as u64
    }

    pub(crate) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// The database asserts where a damaged journal cannot be: the ledger refuses then, and nobody needs the backtrace.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|place| place.file().contains("fjall")) {
                usual(panic);
            }
        }));
    });
}

/// Runs a campaign on all processors.
pub(crate) fn run(root: &Path, recording: &Recording, plan: Plan) -> Figures {
    hush();
    let points = points(root, recording, plan);
    let figures = Mutex::new(Figures { points: points.len(), ..Figures::default() });
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (points, figures) = (&points, &figures);
            scope.spawn(move || {
                let mine = points.iter().enumerate().filter(|(at, _)| at % workers == worker);
                follow(root, recording, mine.map(|(_, point)| point), plan.seed, figures);
            });
        }
    });
    figures.into_inner().unwrap()
}

/// How many steps have been followed, and what is tried there.
type Point = (usize, bool);

fn points(root: &Path, recording: &Recording, plan: Plan) -> Vec<Point> {
    let mut disk = Disk::new(root, recording);
    let mut dice = Dice::new(plan.seed);
    let call = |at: usize| &recording.calls[at];
    let said = |step: &Step| matches!(step, Step::Begin(at) if matches!(call(*at), Call::Say { .. }));
    let first = recording.steps.iter().position(said).expect("the program says something");
    // A reply may be out as soon as its write has begun. Where a flush begins, most is on its way.
    let (mut telling, mut flushing, mut committing) = (Vec::new(), Vec::new(), Vec::new());
    for (followed, step) in (1..).zip(&recording.steps) {
        disk.follow(step);
        match step {
            _ if followed <= first => {}
            Step::Begin(at) => match call(*at) {
                Call::Say { line } if line.starts_with("ack") => telling.push(followed),
                Call::Sync { fd } => {
                    let journal =
                        disk.path(*fd).is_some_and(|path| path.extension().is_some_and(|end| end == "jnl"));
                    (if journal { &mut committing } else { &mut flushing }).push(followed);
                }
                _ => {}
            },
            Step::End(at) if matches!(call(*at), Call::Sync { .. }) => telling.push(followed),
            Step::End(_) => {}
        }
    }
    while telling.len() > plan.lost {
        telling.swap_remove(dice.index(telling.len()));
    }
    let mut points: BTreeMap<usize, bool> = telling.into_iter().map(|at| (at, false)).collect();
    for nth in 0..plan.mixed {
        let any = first + 1 + dice.index(recording.steps.len() - first);
        let at = match nth % 4 {
            0 => any,
            1 => flushing[dice.index(flushing.len())],
            _ => committing[dice.index(committing.len())],
        };
        points.insert(at, true);
    }
    points.into_iter().collect()
}

fn follow<'p>(
    root: &Path,
    recording: &Recording,
    points: impl Iterator<Item = &'p Point>,
    seed: u64,
    figures: &Mutex<Figures>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut disk, mut story, mut followed) = (Disk::new(root, recording), Story::default(), 0);
    for &(point, mixed) in points {
        for step in &recording.steps[followed..point] {
            disk.follow(step);
            let Step::Begin(at) = step else { continue };
            if let Call::Say { line } = &recording.calls[*at]
                && let Ok(line) = line.parse::<Line>()
            {
                story.hear(&line);
            }
        }
        followed = point;
        for variant in VARIANTS {
            if variant != Variant::Lost && !(mixed && disk.unflushed()) {
                continue;
            }
            let target = home();
            rebuild(&disk, variant, seed ^ (point as u64) << 8, target.path()).unwrap();
            let verdict = runtime.block_on(judge_directory(&target.path().join("data"), &story));
            let mut figures = figures.lock().unwrap();
            match verdict {
                Verdict::Whole(opened) => {
                    *figures.whole.entry(variant).or_default() += 1;
                    figures.more_than_acknowledged += u64::from(opened.entries > story.acknowledged);
                }
                // Whoever lost nothing but what was never flushed has no reason to refuse.
                Verdict::Refused(why) if variant == Variant::Lost => {
                    figures.wrong.push(format!("{variant:?} at step {point}: refused: {why}"));
                }
                Verdict::Refused(why) => {
                    let why = why.replace(&target.path().display().to_string(), "");
                    *figures.refused.entry((variant, why)).or_default() += 1;
                }
                Verdict::Wrong(what) => figures.wrong.push(format!("{variant:?} at step {point}: {what}")),
            }
        }
    }
}

/// A directory in memory where there is one: what is flushed to it is never pulled out from under it.
fn home() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}
