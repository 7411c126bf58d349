// SPDX-License-Identifier: GPL-2.0

//! A shorter way to a failure.

use crate::{
    oracle::{self, Failure, Part, Plan},
    shared::Control,
    Options,
};
use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

/// Failures that depend on how threads met are tried so often before they count as gone.
const TRIES: u32 = 3;

struct Search<'a> {
    options: &'a Options,
    control: &'static Control,
    end: Instant,
    tries: u32,
    stuck: bool,
    /// What the failure says, without its numbers: another failure is another bug.
    says: String,
}

fn words(text: &str) -> String {
    text.split(|c: char| !c.is_ascii_alphabetic() && c != '(')
        .filter(|word| word.len() > 3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// `1-3,7`
fn ranges(list: &[u64]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < list.len() {
        let first = at;
        while at + 1 < list.len() && list[at + 1] == list[at] + 1 {
            at += 1;
        }
        if first > 0 {
            text.push(',');
        }
        text += &match at - first {
            0 => format!("{}", list[at]),
            _ => format!("{}-{}", list[first], list[at]),
        };
        at += 1;
    }
    text
}

impl Search<'_> {
    fn out_of_time(&self) -> bool {
        self.stuck || Instant::now() > self.end
    }

    /// Does it fail?
    fn fails(&mut self, plan: &Plan, times: u32) -> Option<Failure> {
        for _ in 0..times {
            if self.out_of_time() {
                return None;
            }
            self.tries += 1;
            match oracle::run(plan, self.options, self.control) {
                Ok(outcome) => {
                    if let Some(failure) = outcome.failure {
                        self.stuck = failure.stuck;
                        if words(&failure.text) == self.says {
                            return Some(failure);
                        }
                    }
                }
                Err(text) => {
                    println!("# shrink: {text}");
                    self.stuck = true;
                }
            }
        }
        None
    }
}

/// Looks for the fewest workers and operations that fail, and prints them.
pub fn shrink(plan: &Plan, options: &Options, control: &'static Control, failure: &Failure) {
    let quiet = Options {
        progress: false,
        whole: false,
        device: options.device.clone(),
        second: options.second.clone(),
        replay: Vec::new(),
        guided: None,
        // What hangs does so soon.
        patience: options.patience.min(Duration::from_secs(30)),
        ..*options
    };
    let reached: Vec<_> = plan
        .parts
        .iter()
        .map(|(worker, _)| {
            (
                *worker,
                Part::Span(0, control.cells[*worker].index.load(SeqCst) + 1),
            )
        })
        .collect();
    let mut search = Search {
        options: &quiet,
        control,
        end: Instant::now() + options.shrink,
        tries: 0,
        stuck: false,
        says: words(&failure.text),
    };
    let whole = Plan {
        parts: reached,
        time: None,
        ..plan.clone()
    };
    let alone = Plan {
        parts: vec![(failure.worker, Part::Span(0, failure.index + 1))],
        ..whole.clone()
    };
    let found = if search.fails(&alone, 1).is_some() {
        let plan = fewer(&mut search, alone, 1);
        Some((plan, 1))
    } else {
        search.fails(&whole, TRIES).is_some().then(|| {
            let plan = fewer_workers(&mut search, whole);
            (fewer(&mut search, plan, TRIES), TRIES)
        })
    };
    let Some((mut found, times)) = found else {
        println!(
            "# shrink: it did not happen again in {} tries; it depends on how the workers meet",
            search.tries
        );
        return;
    };
    println!("# shrink: {} tries; the shortest that fails:", search.tries);
    let mut again = format!(
        "oracle --seed {} --workers {} --processes {} --check {}",
        plan.seed, plan.workers, options.processes, options.check
    );
    for (worker, part) in &found.parts {
        let list = match part {
            Part::Span(from, to) => format!("{from}-{}", to - 1),
            Part::Some(list) => ranges(list),
        };
        again += &format!(" --replay {worker}:{list}");
    }
    println!("# rdax-torture {again}");
    let short = found.parts.iter().map(|(_, part)| part.len()).sum::<u64>() < 200;
    if short && !search.stuck {
        found.verbose = true;
        search.end = Instant::now() + Duration::from_secs(60);
        if let Some(failure) = search.fails(&found, times) {
            println!(
                "# worker {} at its operation {}: {}",
                failure.worker, failure.index, failure.text
            );
        }
    }
}

fn fewer_workers(search: &mut Search<'_>, mut plan: Plan) -> Plan {
    let mut n = 0;
    while n < plan.parts.len() && plan.parts.len() > 1 {
        let mut less = plan.clone();
        less.parts.remove(n);
        if search.fails(&less, TRIES).is_some() {
            plan = less;
        } else {
            n += 1;
        }
    }
    plan
}

/// Leaves out what isn't needed: first the beginning of each worker's operations, then any of them.
fn fewer(search: &mut Search<'_>, mut plan: Plan, times: u32) -> Plan {
    for n in 0..plan.parts.len() {
        while let Part::Span(from, to) = plan.parts[n].1 {
            let mut less = plan.clone();
            less.parts[n].1 = Part::Span(from + (to - from) / 2, to);
            if to - from < 2 || search.fails(&less, times).is_none() {
                break;
            }
            plan = less;
        }
        // Then by halves, quarters and so on of what is left.
        if plan.parts[n].1.len() > 20_000 {
            continue;
        }
        let mut list: Vec<u64> = plan.parts[n].1.indices().collect();
        let mut step = list.len() / 2;
        while step > 0 && !search.out_of_time() {
            let mut at = 0;
            while at < list.len() && !search.out_of_time() {
                let mut less = list.clone();
                less.drain(at..(at + step).min(list.len()));
                let mut try_it = plan.clone();
                try_it.parts[n].1 = Part::Some(less.clone());
                if !less.is_empty() && search.fails(&try_it, times).is_some() {
                    list = less;
                } else {
                    at += step;
                }
            }
            step /= 2;
        }
        plan.parts[n].1 = Part::Some(list);
    }
    plan
}
