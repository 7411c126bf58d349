// SPDX-License-Identifier: GPL-2.0

//! Guided by coverage: an input that reaches something new in the module is kept, and changed again.
//!
//! An input is a few calls of [`Fuzz`], each with dice of its own. All that is random in a call is
//! what these show, so a change of an input is a change of one number, or of the list of calls; the
//! model says of each what must come of it, as without coverage.

use super::{prepare, report, said, Fuzz, LOOK};
use crate::{device, dice::Dice, sys::kcov::Kcov, Options};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::{Display, Formatter},
    fs::{self, File},
    io::Write,
    path::Path,
    str::FromStr,
    time::{Duration, Instant},
};

/// Calls of an input, at most.
const CALLS: usize = 12;

/// A call: the state of its dice, and what these are told.
#[derive(Clone)]
struct Call {
    state: u64,
    told: BTreeMap<u64, u64>,
    /// How many numbers it took when it last ran.
    shown: u64,
}

impl Call {
    fn new(dice: &mut Dice) -> Self {
        Self {
            state: dice.next(),
            told: BTreeMap::new(),
            shown: 0,
        }
    }
}

/// `STATE[,PLACE=NUMBER...]` for each call, in hexadecimal.
#[derive(Clone)]
struct Input(Vec<Call>);

impl Display for Input {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (n, call) in self.0.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{:x}", call.state)?;
            for (place, number) in &call.told {
                write!(f, ",{place:x}={number:x}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Input {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|e| format!("{text}: {e}"));
        let call = |word: &str| {
            let mut parts = word.split(',');
            let state = hex(parts.next().unwrap_or_default())?;
            let told = parts
                .map(|part| {
                    let (place, number) = part.split_once('=').ok_or(format!("{part}: no ="))?;
                    Ok((hex(place)?, hex(number)?))
                })
                .collect::<Result<_, String>>()?;
            Ok(Call {
                state,
                told,
                shown: 0,
            })
        };
        line.split_whitespace()
            .map(call)
            .collect::<Result<_, String>>()
            .map(Self)
    }
}

impl Input {
    fn new(dice: &mut Dice) -> Self {
        let calls = dice.range(1, 6);
        Self((0..calls).map(|_| Call::new(dice)).collect())
    }

    /// One that is like it, with something of `other`.
    fn changed(&self, other: &Self, dice: &mut Dice) -> Self {
        let mut calls = self.0.clone();
        for _ in 0..dice.range(1, 3) {
            let at = dice.below(calls.len() as u64) as usize;
            let theirs = dice.below(other.0.len() as u64) as usize;
            match dice.below(10) {
                0..5 => {
                    let place = dice.below(calls[at].shown.max(4));
                    // The first and the last of what there is to choose from, or any.
                    let number = match dice.below(4) {
                        0 => 0,
                        1 => u64::MAX,
                        _ => dice.next(),
                    };
                    calls[at].told.insert(place, number);
                }
                5 | 6 => calls.insert(at, Call::new(dice)),
                7 => calls.insert(at, other.0[theirs].clone()),
                8 => calls.extend_from_slice(&other.0[theirs..]),
                _ if calls.len() > 1 => drop(calls.remove(at)),
                _ => {}
            }
        }
        calls.truncate(CALLS);
        Self(calls)
    }
}

/// An input, and the addresses that it reached.
struct Kept {
    input: Input,
    reached: BTreeSet<u64>,
}

/// Of these as few as reach all that they reach together: the one that adds most, again and again.
fn few(mut kept: Vec<Kept>) -> Vec<Input> {
    let mut few = Vec::new();
    loop {
        let Some(most) = (0..kept.len()).max_by_key(|n| kept[*n].reached.len()) else {
            return few;
        };
        let best = kept.swap_remove(most);
        if best.reached.is_empty() {
            return few;
        }
        for other in &mut kept {
            other.reached.retain(|at| !best.reached.contains(at));
        }
        few.push(best.input);
    }
}

fn lines<T: Display>(of: impl IntoIterator<Item = T>) -> String {
    of.into_iter().map(|each| each.to_string() + "\n").collect()
}

struct Guided {
    fuzz: Fuzz,
    kcov: Kcov,
    dice: Dice,
    /// Each address that was reached, and each step from one to the next.
    reached: BTreeSet<u64>,
    steps: HashSet<(u64, u64)>,
    corpus: Vec<Kept>,
    /// Each input, before it runs: the device is what those before a failure made of it.
    inputs: File,
    calls: u64,
}

impl Guided {
    /// Runs an input, and keeps it if it reaches something new.
    fn run(&mut self, mut input: Input) -> Result<(), String> {
        writeln!(self.inputs, "{input}").map_err(|e| format!("inputs: {e}"))?;
        self.kcov.clear();
        for call in &mut input.0 {
            let mut dice = Dice::told(call.state, call.told.clone());
            let result = self.fuzz.one(&mut dice);
            result.map_err(|e| format!("{}: {e}", self.fuzz.call))?;
            call.shown = dice.shown();
            self.calls += 1;
            if self.calls % LOOK == 0 {
                self.fuzz.look()?;
            }
        }
        let mut new = false;
        let mut before = 0;
        let mut reached = BTreeSet::new();
        for at in self.kcov.reached() {
            new |= self.steps.insert((before, at));
            before = at;
            reached.insert(at);
        }
        self.reached.extend(&reached);
        if new {
            self.corpus.push(Kept { input, reached });
        }
        Ok(())
    }

    fn go(&mut self, known: Vec<Input>, time: Duration) -> Result<(), String> {
        for input in known {
            self.run(input)?;
        }
        println!("# the corpus reaches {} places", self.reached.len());
        let begun = Instant::now();
        let mut told = begun;
        while begun.elapsed() < time {
            let mut pick = || self.dice.below(self.corpus.len() as u64) as usize;
            let input = if self.corpus.is_empty() {
                Input::new(&mut self.dice)
            } else {
                let (one, other) = (pick(), pick());
                if self.dice.one_in(6) {
                    Input::new(&mut self.dice)
                } else {
                    let one = &self.corpus[one].input;
                    one.changed(&self.corpus[other].input, &mut self.dice)
                }
            };
            self.run(input)?;
            if told.elapsed() > Duration::from_secs(60) {
                told = Instant::now();
                println!(
                    "# {} s: {} calls, {} inputs kept, {} places",
                    begun.elapsed().as_secs(),
                    self.calls,
                    self.corpus.len(),
                    self.reached.len()
                );
            }
        }
        self.fuzz.look()
    }
}

pub(super) fn guided(options: &Options, directory: &Path) -> Result<bool, String> {
    let write = |name: &str, text: String| {
        fs::write(directory.join(name), text).map_err(|e| format!("{name}: {e}"))
    };
    println!("# fuzz: --seed {} --guided", options.seed);
    let known = fs::read_to_string(directory.join("corpus"))
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::parse)
        .collect::<Result<Vec<Input>, _>>()?;
    // Tracepoints are code that is reached, too.
    device::write_text("/sys/kernel/debug/tracing/events/rdax/enable", "1")
        .map_err(|e| said("trace events", e))?;
    let inputs = File::create(directory.join("inputs")).map_err(|e| format!("inputs: {e}"))?;
    let kcov = Kcov::enable().map_err(|e| said("KCOV", e))?;
    let fuzz = prepare(&options.device, options.seed)?;
    let reached: BTreeSet<u64> = kcov.reached().collect();
    if reached.is_empty() {
        return Err("KCOV sees nothing of the module: was it built with KCOV_INSTRUMENT=y?".into());
    }
    let mut guided = Guided {
        fuzz,
        kcov,
        dice: Dice::new(options.seed, 4, 0),
        reached,
        steps: HashSet::new(),
        corpus: Vec::new(),
        inputs,
        calls: 0,
    };
    let result = guided.go(known, Duration::from_secs(options.time));
    report("root", &guided.fuzz, &result);
    println!(
        "# {} calls, {} inputs kept, {} places reached",
        guided.calls,
        guided.corpus.len(),
        guided.reached.len()
    );
    write(
        "reached",
        lines(guided.reached.iter().map(|at| format!("{at:x}"))),
    )?;
    if result.is_err() {
        return Ok(false);
    }
    write("corpus", lines(few(guided.corpus)))?;
    Ok(true)
}
