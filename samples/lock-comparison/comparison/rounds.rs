// SPDX-License-Identifier: GPL-2.0

//! Several threads that lock and unlock, for a given time or so many times each.
//!
//! With `check`, each holder of a range counts itself in at each of its pages, and out again. Who
//! finds another there has found a violation: the scheme doesn't exclude.

use super::{
    counter::Counter,
    measure::work_for,
    request::{
        Contention,
        Request, //
    },
    scheme::Scheme, //
};
use crate::kernel_ext::{
    kthread,
    task,
    topology,
    units::{
        Order,
        PageOffset,
        Pages, //
    }, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Completion, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
};

/// The ranges of 2 MiB that each thread has for itself without contention.
const OWN: usize = 2;

/// The pages of some contention, and in how many ranges of 2 MiB they are.
const SOME_PAGES: usize = 8;
const SOME_RANGES: usize = 4;

/// The page of full contention: not the first of its 2 MiB.
const FULL_PAGE: usize = 7;

/// Holders are counted by node, in 16 bits each.
const LANES: usize = 4;
const LANE_BITS: usize = 16;

/// What one thread has done. A cache line of its own.
#[repr(align(64))]
struct Tally {
    pairs: Atomic<u64>,
    fallbacks: Atomic<u64>,
}

impl Tally {
    const fn new() -> Self {
        Self {
            pairs: Atomic::new(0),
            fallbacks: Atomic::new(0),
        }
    }
}

/// What the checks have found.
struct Findings {
    violations: Counter,
    /// Of these, with a holder on another node.
    across: Counter,
    last: Atomic<usize>,
    streak: Atomic<u64>,
    longest: Atomic<u64>,
}

/// What the threads look at between any two pairs. A cache line of its own.
#[repr(align(64))]
struct Flags {
    counting: Atomic<bool>,
    stop: Atomic<bool>,
}

#[pin_data]
struct Round<'a, S: Scheme> {
    scheme: Pin<KBox<S>>,
    request: &'a Request,
    cpus: KVec<u32>,
    holders: KVVec<Atomic<u64>>,
    tallies: KVec<Tally>,
    findings: Findings,
    errors: Counter,
    /// Threads that are there.
    arrived: Atomic<usize>,
    #[pin]
    all_arrived: Completion,
    #[pin]
    go: Completion,
    /// Threads that have made a pair. Until all have, nothing is counted: the first to run has the
    /// locks for itself.
    warm: Atomic<usize>,
    #[pin]
    all_warm: Completion,
    flags: Flags,
}

/// A pseudo-random sequence (xorshift64).
struct Random(u64);

impl Random {
    fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The next number below `bound`, which is small and not 0.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as usize % bound
    }
}

/// How many pages are locked by anybody.
fn area(request: &Request) -> Pages {
    let ranges = match request.contention {
        Contention::None => request.threads * OWN,
        Contention::Some => SOME_RANGES,
        Contention::Full => 1,
    };
    Pages::new(ranges * Order::PMD.pages().get())
}

impl<S: Scheme> Round<'_, S> {
    /// What thread `index` locks next.
    fn choose(&self, index: usize, random: &mut Random) -> (PageOffset, Order) {
        let huge = self.request.huge != 0 && random.below(100) < self.request.huge as usize;
        let order = if huge { Order::PMD } else { Order::PTE };
        let unit = Order::PMD.pages().get();
        let page = match self.request.contention {
            Contention::None => (index * OWN) * unit + random.below(OWN * unit),
            Contention::Some => random.below(SOME_PAGES) * (SOME_RANGES * unit / SOME_PAGES),
            Contention::Full if self.request.huge != 0 => random.below(unit),
            Contention::Full => FULL_PAGE,
        };
        (PageOffset::new(page), order)
    }

    /// The pages of the range of `order` around `pgoff`.
    fn pages(&self, pgoff: PageOffset, order: Order) -> &[Atomic<u64>] {
        let start = pgoff.align_down(order);
        let behind = start + order.pages();
        self.holders
            .get(start.get()..behind.get())
            .unwrap_or_default()
    }

    fn enter(&self, index: usize, lane: u64, pgoff: PageOffset, order: Order) {
        let mut others = 0;
        for holders in self.pages(pgoff, order) {
            others |= holders.fetch_add(lane, Full);
        }
        let findings = &self.findings;
        if others != 0 {
            findings.violations.inc();
            if others & (lane * ((1 << LANE_BITS) - 1)) != others {
                findings.across.inc();
            }
        }
        // Makes sense under full contention, and where the lock excludes.
        let mut streak = 1;
        if findings.last.load(Relaxed) == index {
            streak += findings.streak.load(Relaxed);
        }
        findings.last.store(index, Relaxed);
        findings.streak.store(streak, Relaxed);
        if self.flags.counting.load(Relaxed) && streak > findings.longest.load(Relaxed) {
            findings.longest.store(streak, Relaxed);
        }
    }

    fn leave(&self, lane: u64, pgoff: PageOffset, order: Order) {
        for holders in self.pages(pgoff, order) {
            holders.fetch_sub(lane, Full);
        }
    }

    /// Counts one more thread in; tells when that was the last.
    fn arrive(&self, count: &Atomic<usize>, all: &Completion) {
        if count.fetch_add(1, Full) + 1 == self.request.threads {
            all.complete_all();
        }
    }

    /// What thread `index` does.
    fn thread(&self, index: usize) {
        let Some((tally, &cpu)) = self.tallies.get(index).zip(self.cpus.get(index)) else {
            return;
        };
        let lane = 1 << (topology::node_of(cpu) % LANES * LANE_BITS);
        let mut random = Random::new(index);
        let (mut pairs, mut fallbacks) = (0, 0);
        let mut warm = false;
        self.arrive(&self.arrived, &self.all_arrived);
        self.go.wait_for_completion();
        let most = if self.request.millis == 0 {
            self.request.count as u64
        } else {
            u64::MAX
        };
        while pairs < most && !self.flags.stop.load(Relaxed) {
            let (pgoff, order) = self.choose(index, &mut random);
            let done = self.scheme.with(pgoff, order, |granted| {
                if self.request.check {
                    self.enter(index, lane, pgoff, granted);
                }
                work_for(self.request.inside);
                if self.request.nap != 0 {
                    fsleep(Delta::from_micros(i64::from(self.request.nap)));
                }
                if self.request.check {
                    self.leave(lane, pgoff, granted);
                }
                granted
            });
            if !warm {
                warm = true;
                self.arrive(&self.warm, &self.all_warm);
            }
            match done {
                Ok(granted) if self.flags.counting.load(Relaxed) => {
                    pairs += 1;
                    fallbacks += u64::from(granted < order);
                }
                Ok(_) => (),
                Err(_) => {
                    self.errors.inc();
                    break;
                }
            }
            work_for(self.request.outside);
            task::cond_resched();
        }
        tally.pairs.store(pairs, Relaxed);
        tally.fallbacks.store(fallbacks, Relaxed);
    }
}

/// The CPU of each thread: those that are online, or those of a node, in turn.
///
/// Errors: `ENODEV` when the node has no CPU.
fn cpus(request: &Request) -> Result<KVec<u32>> {
    let online = topology::online_cpus()?;
    let wanted = |cpu: &&u32| {
        request
            .node
            .is_none_or(|node| topology::node_of(**cpu) == node)
    };
    let mut cpus = KVec::with_capacity(request.threads, GFP_KERNEL)?;
    for &cpu in online.iter().filter(wanted).cycle().take(request.threads) {
        cpus.push(cpu, GFP_KERNEL)?;
    }
    if cpus.is_empty() {
        return Err(ENODEV);
    }
    Ok(cpus)
}

/// Locks each range of `order` in the first `pages` pages once.
fn populate<S: Scheme>(scheme: &S, order: Order, pages: Pages) -> Result {
    for pgoff in (0..pages.get()).step_by(order.pages().get()) {
        scheme.with(PageOffset::new(pgoff), order, |_| ())?;
    }
    Ok(())
}

/// Errors: `ENOMEM`, `ENODEV`; those of the making of threads.
pub(crate) fn run<S: Scheme>(request: &Request) -> Result<CString> {
    let pages = area(request);
    let mut holders = KVVec::with_capacity(pages.get(), GFP_KERNEL)?;
    for _ in 0..pages.get() {
        holders.push(Atomic::new(0), GFP_KERNEL)?;
    }
    let mut tallies = KVec::with_capacity(request.threads, GFP_KERNEL)?;
    for _ in 0..request.threads {
        tallies.push(Tally::new(), GFP_KERNEL)?;
    }
    let round = KBox::pin_init(
        try_pin_init!(Round {
            scheme: KBox::pin_init(S::new(), GFP_KERNEL)?,
            request,
            cpus: cpus(request)?,
            holders,
            tallies,
            findings: Findings {
                violations: Counter::new(),
                across: Counter::new(),
                last: Atomic::new(usize::MAX),
                streak: Atomic::new(0),
                longest: Atomic::new(0),
            },
            errors: Counter::new(),
            arrived: Atomic::new(0),
            all_arrived <- Completion::new(),
            go <- Completion::new(),
            warm: Atomic::new(0),
            all_warm <- Completion::new(),
            flags: Flags {
                counting: Atomic::new(request.millis == 0),
                stop: Atomic::new(false),
            },
        }),
        GFP_KERNEL,
    )?;

    if let Some(order) = request.populate {
        populate(&*round.scheme, order, pages)?;
    }

    let mut ns = 0;
    kthread::scope(&round.cpus, &|index| round.thread(index), || {
        round.all_arrived.wait_for_completion();
        round.go.complete_all();
        if request.millis != 0 {
            round.all_warm.wait_for_completion();
            let begun = Instant::<Monotonic>::now();
            round.flags.counting.store(true, Relaxed);
            fsleep(Delta::from_millis(i64::from(request.millis)));
            round.flags.stop.store(true, Relaxed);
            ns = begun.elapsed().as_nanos();
        }
    })?;
    if round.errors.get() != 0 {
        return Err(ENOMEM);
    }

    let (mut all, mut least, mut most, mut fallbacks) = (0, u64::MAX, 0, 0);
    for tally in round.tallies.iter() {
        let pairs = tally.pairs.load(Relaxed);
        all += pairs;
        least = least.min(pairs);
        most = most.max(pairs);
        fallbacks += tally.fallbacks.load(Relaxed);
    }
    CString::try_from_fmt(fmt!(
        "scheme={} threads={} ns={ns} pairs={all} least={least} most={most} fallbacks={fallbacks} \
         violations={} across={} longest={}",
        S::NAME,
        request.threads,
        round.findings.violations.get(),
        round.findings.across.get(),
        round.findings.longest.load(Relaxed)
    ))
}
