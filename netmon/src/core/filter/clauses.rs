//! What the kernel program can decide of a filter: a disjunction of clauses.
//!
//! Negations are pushed down to the terms first, so that a term that the kernel cannot decide can
//! stand for everything wherever it is: the result admits more than the filter, never less.

use netmon_common::{Clause, KernelFilter, MAX_CLAUSES};

use super::{Node, Side, Term};

/// So many clauses are kept on the way: conjunctions of disjunctions grow exponentially.
const MAX_KEPT: usize = 64;

pub(super) fn compile(node: &Node) -> KernelFilter {
    let mut clauses = Disjunction::of(node, true);
    if clauses.0.len() > MAX_CLAUSES {
        clauses.collapse();
    }
    match *clauses.0 {
        [Clause::ANY] => KernelFilter::ANY,
        // A count of 0 would let everything pass.
        [] => KernelFilter { count: 1, ..KernelFilter::ANY },
        ref some => {
            let mut filter = KernelFilter::ANY;
            for (place, clause) in filter.clauses.iter_mut().zip(some) {
                *place = *clause;
                filter.count += 1;
            }
            filter
        }
    }
}

/// What passes any of the clauses, none of which is covered by another or admits nothing.
#[derive(Debug, PartialEq)]
struct Disjunction(Vec<Clause>);

impl Disjunction {
    /// What may match `node`, or, where `wanted` is false, what may not.
    fn of(node: &Node, wanted: bool) -> Self {
        match (node, wanted) {
            (Node::Not(inner), _) => Self::of(inner, !wanted),
            (Node::Term(term), _) => Self::of_term(term, wanted),
            (Node::All(parts), true) | (Node::Any(parts), false) => {
                let all = Self(vec![Clause::ANY]);
                parts.iter().fold(all, |all, part| all.and(&Self::of(part, wanted)))
            }
            (Node::Any(parts), true) | (Node::All(parts), false) => {
                parts.iter().flat_map(|part| Self::of(part, wanted).0).collect()
            }
        }
    }

    fn of_term(term: &Term, wanted: bool) -> Self {
        let any = Clause::ANY;
        match *term {
            Term::States(states) => {
                let states = if wanted { states.bits() } else { any.states & !states.bits() };
                [Clause { states, ..any }].into_iter().collect()
            }
            Term::Ports(side, ports) => {
                let within = |ports| match side {
                    Side::Local => Clause { local_ports: ports, ..any },
                    Side::Remote => Clause { remote_ports: ports, ..any },
                };
                match ports {
                    ports if wanted => [within(ports)].into_iter().collect(),
                    [low, high] if low > high => [any].into_iter().collect(),
                    [low, high] => {
                        let below = low.checked_sub(1).map(|below| within([0, below]));
                        let above = high.checked_add(1).map(|above| within([above, u16::MAX]));
                        below.into_iter().chain(above).collect()
                    }
                }
            }
            // In a clause 0 is any.
            Term::Netns(netns) if wanted => [Clause { netns, ..any }].into_iter().collect(),
            Term::Netns(_)
            | Term::Address(..)
            | Term::Pid(_)
            | Term::Comm(_)
            | Term::Uid(_)
            | Term::Cgroup(_) => [any].into_iter().collect(),
        }
    }

    fn and(&self, other: &Self) -> Self {
        let pairs = self.0.iter().flat_map(|one| other.0.iter().map(move |two| (one, two)));
        pairs.filter_map(|(one, two)| meet(one, two)).collect()
    }

    fn add(&mut self, clause: Clause) {
        if admits_nothing(&clause) || self.0.iter().any(|kept| covers(kept, &clause)) {
            return;
        }
        self.0.retain(|kept| !covers(&clause, kept));
        self.0.push(clause);
        if self.0.len() > MAX_KEPT {
            self.collapse();
        }
    }

    /// Gives up: makes do with the one clause that covers them all.
    fn collapse(&mut self) {
        self.0 = self.0.drain(..).reduce(|one, two| hull(&one, &two)).into_iter().collect();
    }
}

impl FromIterator<Clause> for Disjunction {
    fn from_iter<T: IntoIterator<Item = Clause>>(clauses: T) -> Self {
        let mut any = Self(Vec::new());
        clauses.into_iter().for_each(|clause| any.add(clause));
        any
    }
}

const fn admits_nothing(clause: &Clause) -> bool {
    clause.states == 0
        || clause.families == 0
        || clause.local_ports[0] > clause.local_ports[1]
        || clause.remote_ports[0] > clause.remote_ports[1]
}

/// Whether `outer` admits whatever `inner` does.
fn covers(outer: &Clause, inner: &Clause) -> bool {
    hull(outer, inner) == *outer
}

/// The least clause that covers both.
fn hull(one: &Clause, two: &Clause) -> Clause {
    let ports = |one: [u16; 2], two: [u16; 2]| [one[0].min(two[0]), one[1].max(two[1])];
    Clause {
        states: one.states | two.states,
        families: one.families | two.families,
        netns: if one.netns == two.netns { one.netns } else { 0 },
        local_ports: ports(one.local_ports, two.local_ports),
        remote_ports: ports(one.remote_ports, two.remote_ports),
    }
}

/// What passes both; none where two namespaces are asked for.
fn meet(one: &Clause, two: &Clause) -> Option<Clause> {
    let netns = match (one.netns, two.netns) {
        (0, netns) | (netns, 0) => netns,
        (netns, other) if netns == other => netns,
        _ => return None,
    };
    let ports = |one: [u16; 2], two: [u16; 2]| [one[0].max(two[0]), one[1].min(two[1])];
    Some(Clause {
        states: one.states & two.states,
        families: one.families & two.families,
        netns,
        local_ports: ports(one.local_ports, two.local_ports),
        remote_ports: ports(one.remote_ports, two.remote_ports),
    })
}
