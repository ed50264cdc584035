//! Hill climbing: the genomes with the most expensive calls are changed, and kept if they became no
//! cheaper.

use crate::engine::Way;
use crate::genome::{Genome, Order, Selection, Step};
use crate::random::Random;
use crate::run::{Goal, Runner, Worst};
use anyhow::Result;
use std::time::Instant;

/// How many genomes are kept for each kind of call.
const KEPT: usize = 6;

/// After so many runs without a better genome of any kind, all are put aside and it begins anew.
const PATIENCE: usize = 1_500;

/// A run ends after so many instructions.
const INSTRUCTIONS: u64 = 50_000_000;

/// Runs that may be spent on making a finding simpler.
const SIMPLIFICATIONS: usize = 400;

/// When a search ends: by whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// After so many runs. (The same runs, with the same seed.)
    pub runs: usize,
    /// At that time, if there is one.
    pub end: Option<Instant>,
}

impl Budget {
    fn is_spent(self, runs: usize) -> bool {
        runs >= self.runs || self.end.is_some_and(|end| Instant::now() >= end)
    }
}

/// The most expensive call of a kind, and what leads to it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The kind.
    pub goal: Goal,
    /// What leads to it.
    pub genome: Genome,
    /// What a run of it came to.
    pub worst: Worst,
}

impl Finding {
    /// Instructions of the call.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.worst.instructions(self.goal)
    }
}

/// A search under way.
pub struct Search {
    random: Random,
    runner: Runner,
    goals: Vec<Goal>,
    /// For each kind, from the best down.
    kept: [Vec<Finding>; Goal::ALL.len()],
    /// For each kind, from all times before it began anew.
    best: [Option<Finding>; Goal::ALL.len()],
    runs: usize,
    /// Runs since something was better.
    since: usize,
    foreign_calls: u64,
}

impl Search {
    /// A search for some kinds of calls.
    #[must_use]
    pub fn new(seed: u64, goals: &[Goal]) -> Self {
        Self {
            random: Random::seeded(seed),
            runner: Runner::limited_to(INSTRUCTIONS),
            goals: goals.to_vec(),
            kept: Default::default(),
            best: Default::default(),
            runs: 0,
            since: 0,
            foreign_calls: 0,
        }
    }

    /// Begins with genomes that are known to be expensive.
    ///
    /// # Errors
    ///
    /// If a genome cannot be run.
    pub fn begin_with(&mut self, genomes: impl IntoIterator<Item = Genome>) -> Result<()> {
        genomes.into_iter().try_for_each(|genome| self.evaluate(genome))
    }

    /// Searches until the budget is spent; tells of what is better than anything before.
    ///
    /// # Errors
    ///
    /// If a genome cannot be run.
    pub fn run(&mut self, budget: Budget, mut tell: impl FnMut(usize, &Finding)) -> Result<()> {
        while !budget.is_spent(self.runs) {
            let goal = self.goals[self.runs % self.goals.len()];
            let genome = self.next(goal);
            let before = self.goals.iter().map(|&goal| self.record(goal)).collect::<Vec<_>>();
            self.evaluate(genome)?;
            for (&goal, before) in self.goals.iter().zip(before) {
                if self.record(goal) > before {
                    tell(self.runs, &self.kept[goal as usize][0]);
                }
            }
            if self.since > PATIENCE {
                self.begin_anew();
            }
        }
        Ok(())
    }

    /// How many runs there were.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// How many calls there were whose count is not whole.
    #[must_use]
    pub fn foreign_calls(&self) -> u64 {
        self.foreign_calls
    }

    /// What was found: the most expensive call of each kind, and what leads to it, made as simple as
    /// can be where somebody wants to read it.
    ///
    /// # Errors
    ///
    /// If a genome cannot be run.
    pub fn findings(mut self, is_read: impl Fn(&Finding) -> bool) -> Result<Vec<Finding>> {
        self.begin_anew();
        let found: Vec<Finding> =
            self.goals.iter().filter_map(|&goal| self.best[goal as usize].take()).collect();
        let simplified = found
            .into_iter()
            .map(|finding| if is_read(&finding) { self.simplified(finding) } else { Ok(finding) });
        simplified
            .map(|finding| {
                let finding = finding?;
                // To the end, as a replay of it will be.
                let worst = Runner::default().run(&finding.genome, Way::Rewritten)?;
                Ok(Finding { worst, ..finding })
            })
            .collect()
    }

    /// The most instructions that were seen for a kind.
    fn record(&self, goal: Goal) -> u64 {
        let kept = self.kept[goal as usize].first();
        kept.into_iter().chain(&self.best[goal as usize]).map(Finding::instructions).max().unwrap_or(0)
    }

    /// A genome to try for a kind of call.
    fn next(&mut self, goal: Goal) -> Genome {
        let random = &mut self.random;
        let kept = &self.kept[goal as usize];
        if kept.is_empty() || random.percent(8) {
            return Genome::random(random);
        }
        let parent = &kept[random.below(kept.len())].genome;
        if random.percent(15) {
            let all: Vec<&Finding> = self.kept.iter().flatten().collect();
            return parent.crossed(&all[random.below(all.len())].genome, random);
        }
        let mut genome = parent.clone();
        genome.mutate(random);
        genome
    }

    fn evaluate(&mut self, genome: Genome) -> Result<()> {
        let worst = self.runner.run(&genome, Way::Rewritten)?;
        self.runs += 1;
        self.since += 1;
        self.foreign_calls += worst.total.foreign_calls;
        for &goal in &self.goals {
            let kept = &mut self.kept[goal as usize];
            let instructions = worst.instructions(goal);
            let least = kept.last().map_or(0, Finding::instructions);
            if instructions == 0 || kept.len() == KEPT && instructions < least {
                continue;
            }
            if kept.iter().any(|other| other.genome == genome) {
                continue;
            }
            if kept.first().is_none_or(|first| instructions > first.instructions()) {
                self.since = 0;
            }
            // In front of its equals: who is no better may still be a step on the way.
            let place = kept.partition_point(|other| other.instructions() > instructions);
            kept.insert(place, Finding { goal, genome: genome.clone(), worst: worst.clone() });
            kept.truncate(KEPT);
        }
        Ok(())
    }

    /// Puts all genomes aside.
    fn begin_anew(&mut self) {
        self.since = 0;
        for (kept, best) in self.kept.iter_mut().zip(&mut self.best) {
            let first = kept.drain(..).next();
            if let Some(first) = first
                && best.as_ref().is_none_or(|best| best.instructions() < first.instructions())
            {
                *best = Some(first);
            }
        }
    }

    /// The same call after as little as possible.
    fn simplified(&mut self, mut finding: Finding) -> Result<Finding> {
        let mut runs = 0;
        loop {
            let mut changed = false;
            let mut at = 0;
            while at < finding.genome.steps.len() {
                for simpler in simpler_at(&finding.genome, at) {
                    if runs == SIMPLIFICATIONS {
                        return Ok(finding);
                    }
                    runs += 1;
                    let worst = self.runner.run(&simpler, Way::Rewritten)?;
                    if worst.instructions(finding.goal) >= finding.instructions() {
                        finding = Finding { genome: simpler, worst, ..finding };
                        changed = true;
                        break;
                    }
                }
                at += 1;
            }
            if !changed {
                return Ok(finding);
            }
        }
    }
}

/// Sets something in a step of a kind.
macro_rules! set {
    ($step:ident, $pattern:pat => $change:expr) => {
        if let $pattern = $step {
            $change;
        }
    };
}
/// Genomes that are simpler in one step.
fn simpler_at(genome: &Genome, at: usize) -> Vec<Genome> {
    let mut simpler = Vec::new();
    let mut with = |change: &dyn Fn(&mut Step)| {
        let mut other = genome.clone();
        change(&mut other.steps[at]);
        if other != *genome {
            simpler.push(other);
        }
    };
    match &genome.steps[at] {
        Step::Fill { .. } => {
            with(&|step| set!(step, Step::Fill { count: Some(count), .. } => *count = count.div_ceil(2)));
            with(&|step| set!(step, Step::Fill { count: Some(count), .. } => *count = (*count - 1).max(1)));
            with(&|step| set!(step, Step::Fill { fence, .. } => *fence = None));
            with(&|step| set!(step, Step::Fill { align_log2, .. } => *align_log2 = 3));
            with(&|step| set!(step, Step::Fill { zeroed, .. } => *zeroed = false));
            with(&|step| set!(step, Step::Fill { seed, .. } => *seed = 0));
        }
        Step::Free { .. } => {
            with(&|step| set!(step, Step::Free { which, .. } => *which = Selection::ALL));
            with(&|step| set!(step, Step::Free { which, .. } => which.sizes = None));
            with(&|step| set!(step, Step::Free { order, .. } => *order = Order::Oldest));
            with(&|step| set!(step, Step::Free { seed, .. } => *seed = 0));
        }
        Step::Resize { .. } => {
            with(&|step| set!(step, Step::Resize { which, .. } => *which = Selection::ALL));
            with(&|step| set!(step, Step::Resize { seed, .. } => *seed = 0));
        }
        Step::Churn { .. } => {
            with(&|step| set!(step, Step::Churn { count, .. } => *count = count.div_ceil(2)));
            with(&|step| set!(step, Step::Churn { align_log2, .. } => *align_log2 = 3));
        }
        Step::Alloc { .. } => {
            with(&|step| set!(step, Step::Alloc { align_log2, .. } => *align_log2 = 3));
            with(&|step| set!(step, Step::Alloc { zeroed, .. } => *zeroed = false));
        }
        Step::Try { .. } => {
            with(&|step| set!(step, Step::Try { count, .. } => *count = count.div_ceil(2)));
            with(&|step| set!(step, Step::Try { count, .. } => *count = (*count - 1).max(1)));
        }
        Step::FreeOne { .. } | Step::ResizeOne { .. } | Step::Measure => {}
    }
    if genome.steps.len() > 1 {
        let mut without = genome.clone();
        without.steps.remove(at);
        simpler.insert(0, without);
    }
    simpler
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::beside_another_thread;

    fn search(seed: u64) -> Vec<(Goal, u64, String)> {
        let mut search = Search::new(seed, &Goal::ALL);
        search.run(Budget { runs: 200, end: None }, |_, _| {}).unwrap();
        let findings = search.findings(|_| true).unwrap();
        findings.iter().map(|found| (found.goal, found.instructions(), found.genome.to_string())).collect()
    }

    #[test]
    fn a_search_can_be_repeated() {
        beside_another_thread(|| assert_eq!(search(5), search(5)));
    }
}
