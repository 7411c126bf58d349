// SPDX-License-Identifier: GPL-2.0

//! What must have happened in a run that claims to have tested something.

use crate::{device::Run, shared::Control};
use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst};

/// Counters of the device that must grow in a run.
const COUNTERS: [&str; 15] = [
    "created",
    "waits",
    "wakes",
    "conflicts",
    "splits",
    "upgrades",
    "deletes",
    "writebacks",
    "grabs",
    "pte_mapped",
    "pmd_mapped",
    "pud_mapped",
    "pmd_fallback",
    "pud_fallback",
    "pte_sigbus",
];

/// Entries that must have been in the index when somebody looked.
const ENTRIES: [(&str, u32, bool); 5] = [
    ("zero", 0, false),
    ("zero", 9, false),
    ("mapped", 0, true),
    ("mapped", 9, true),
    ("mapped", 18, true),
];

pub fn bit(run: &Run) -> u64 {
    ENTRIES
        .iter()
        .position(|(kind, order, dirty)| {
            run.kind == *kind && run.order == *order && run.dirty == *dirty
        })
        .map_or(0, |n| 1 << n)
}

/// What was seen, one thing a line, and what was not.
pub fn report(
    before: &BTreeMap<String, u64>,
    now: &BTreeMap<String, u64>,
    control: &Control,
) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut missing) = (Vec::new(), Vec::new());
    let mut row = String::new();
    for name in COUNTERS {
        let grown = now.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0);
        row += &format!("{name} {grown}, ");
        if grown == 0 {
            missing.push(name.to_owned());
        }
    }
    lines.push(format!("transitions: {}", row.trim_end_matches(", ")));
    let mut others = String::new();
    for (name, n) in now
        .iter()
        .filter(|(name, _)| !COUNTERS.contains(&name.as_str()))
    {
        others += &format!("{name} {}, ", n - before.get(name).unwrap_or(&0));
    }
    lines.push(format!("other counters: {}", others.trim_end_matches(", ")));
    let seen = control.seen_entries.load(SeqCst);
    let mut row = Vec::new();
    for (n, (kind, order, dirty)) in ENTRIES.iter().enumerate() {
        let name = format!(
            "{kind} of order {order}{}",
            if *dirty { ", dirty" } else { "" }
        );
        if seen & (1 << n) != 0 {
            row.push(name);
        } else {
            missing.push(format!("an entry {name}"));
        }
    }
    lines.push(format!("entries seen: {}", row.join("; ")));
    let holes = control.holes_written.load(SeqCst);
    let met = control.met.load(SeqCst);
    lines.push(format!(
        "stores into holes: {holes}; shared words of others found: {met}; pins that met punches: {}; \
         checkpoints: {}",
        control.pins_met.load(SeqCst),
        control.checkpoints.load(SeqCst)
    ));
    for (what, n) in [
        ("a store into a hole", holes),
        ("another's shared word", met),
    ] {
        if n == 0 {
            missing.push(what.into());
        }
    }
    (lines, missing)
}
