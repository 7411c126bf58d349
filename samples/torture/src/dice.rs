// SPDX-License-Identifier: GPL-2.0

//! What is random, and yet the same for the same seed.

use std::collections::BTreeMap;

/// splitmix64.
pub fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Numbers at random. At some places, counted from the first number on, it may be told which.
#[derive(Clone)]
pub struct Dice {
    state: u64,
    shown: u64,
    told: BTreeMap<u64, u64>,
}

impl Dice {
    /// The dice of one operation: they depend on nothing that happened before.
    pub fn new(seed: u64, worker: usize, index: u64) -> Self {
        Self::of(mix(mix(seed ^ mix(worker as u64 + 1)).wrapping_add(index)))
    }

    pub fn of(state: u64) -> Self {
        Self {
            state,
            shown: 0,
            told: BTreeMap::new(),
        }
    }

    /// The dice of that state, which show what they are told at these places.
    pub fn told(state: u64, told: BTreeMap<u64, u64>) -> Self {
        Self {
            told,
            ..Self::of(state)
        }
    }

    /// How many numbers it has shown.
    pub fn shown(&self) -> u64 {
        self.shown
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let place = self.shown;
        self.shown += 1;
        let told = self.told.get(&place).copied();
        told.unwrap_or_else(|| mix(self.state))
    }

    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// `low` to `high`, both included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// None of them is 0. However many there are, it shows one number.
    pub fn bytes(&mut self, to: &mut [u8]) {
        let mut words = Self::of(self.next());
        for part in to.chunks_mut(8) {
            let word = (words.next() | 0x0101_0101_0101_0101).to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
    }
}
