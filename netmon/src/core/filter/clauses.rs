//! Compiles the part of a filter that the kernel program can decide: a disjunction of clauses.
//!
//! Negations are pushed down to the terms first. So a term that the kernel cannot decide can stand
//! for everything, at any place: the result admits more than the filter, never less.

use netmon_common::{Clause, KernelFilter, MAX_CLAUSES};

use super::{Node, Side, Term};

/// The limit of clauses during compilation: conjunctions of disjunctions grow exponentially.
const MAX_KEPT: usize = 64;

pub(super) fn compile(node: &Node) -> KernelFilter {
    let mut clauses = Disjunction::from_node(node, true);
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

/// A disjunction of clauses. No clause covers another, and each admits something.
#[derive(Debug, PartialEq)]
struct Disjunction(Vec<Clause>);

impl Disjunction {
    /// Returns clauses that admit everything that may match `node` or, with `wanted` false, may
    /// not.
    fn from_node(node: &Node, wanted: bool) -> Self {
        match (node, wanted) {
            (Node::Not(inner), _) => Self::from_node(inner, !wanted),
            (Node::Term(term), _) => Self::from_term(term, wanted),
            (Node::All(parts), true) | (Node::Any(parts), false) => {
                let all = Self(vec![Clause::ANY]);
                parts.iter().fold(all, |all, part| all.and(&Self::from_node(part, wanted)))
            }
            (Node::Any(parts), true) | (Node::All(parts), false) => {
                parts.iter().flat_map(|part| Self::from_node(part, wanted).0).collect()
            }
        }
    }

    fn from_term(term: &Term, wanted: bool) -> Self {
        let any = Clause::ANY;
        let one = |clause| Self::from_iter([clause]);
        match *term {
            Term::States(states) => {
                let states = if wanted { states.bits() } else { any.states & !states.bits() };
                one(Clause { states, ..any })
            }
            Term::Ports(side, ports) => {
                let within = |ports| match side {
                    Side::Local => Clause { local_ports: ports, ..any },
                    Side::Remote => Clause { remote_ports: ports, ..any },
                };
                match ports {
                    ports if wanted => one(within(ports)),
                    [low, high] if low > high => one(any),
                    [low, high] => {
                        let below = low.checked_sub(1).map(|below| within([0, below]));
                        let above = high.checked_add(1).map(|above| within([above, u16::MAX]));
                        below.into_iter().chain(above).collect()
                    }
                }
            }
            // In a clause, 0 stands for any namespace.
            Term::Netns(netns) | Term::OwnNetns(Some(netns)) if wanted => {
                one(Clause { netns, ..any })
            }
            Term::Netns(_)
            | Term::OwnNetns(_)
            | Term::Address(..)
            | Term::Pid(_)
            | Term::Parent(_)
            | Term::LoginUid(_)
            | Term::Uid(_)
            | Term::Interface(_)
            | Term::Cgroup(_)
            | Term::Cookie(_)
            | Term::Text(..)
            | Term::Direction(_)
            | Term::Verdict(_)
            | Term::Errno(_)
            | Term::Quantity(..) => one(any),
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

    /// Replaces all clauses by the one clause that covers them, which admits more.
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

/// Returns whether `node` has too many clauses, which then collapse and may admit more.
#[cfg(test)]
pub(super) fn gives_up(node: &Node) -> bool {
    Disjunction::from_node(node, true).0.len() > MAX_CLAUSES
}

const fn admits_nothing(clause: &Clause) -> bool {
    clause.states == 0
        || clause.families == 0
        || clause.local_ports[0] > clause.local_ports[1]
        || clause.remote_ports[0] > clause.remote_ports[1]
}

/// Returns whether `outer` admits everything that `inner` admits.
fn covers(outer: &Clause, inner: &Clause) -> bool {
    hull(outer, inner) == *outer
}

/// Returns the least clause that covers both.
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

/// Returns the clause that admits what both admit; none if the clauses name two namespaces.
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

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{OWN, filter},
        *,
    };

    fn compiled(text: &str) -> Vec<Clause> {
        let compiled = filter(text).clauses();
        let (used, free) = compiled.clauses.split_at(compiled.count as usize);
        assert!(free.iter().all(|clause| *clause == Clause::NONE));
        used.to_vec()
    }

    fn states(text: &str) -> u16 {
        match *compiled(text) {
            [Clause { states, .. }] => states,
            ref other => panic!("{text}: {other:?}"),
        }
    }

    fn local(low: u16, high: u16) -> Clause {
        Clause { local_ports: [low, high], ..Clause::ANY }
    }

    fn remote(low: u16, high: u16) -> Clause {
        Clause { remote_ports: [low, high], ..Clause::ANY }
    }

    #[test]
    fn terms_of_the_kernel_are_exact() {
        assert_eq!(states("state established"), 1 << 1);
        assert_eq!(states("state syn-recv"), 1 << 3 | 1 << 12);
        assert_eq!(states("exclude syn-recv"), 0x1ffe & !(1 << 3 | 1 << 12));
        assert_eq!(compiled("sport = :22"), [local(22, 22)]);
        assert_eq!(compiled("sport < :22"), [local(0, 21)]);
        assert_eq!(compiled("dport >= :22"), [remote(22, 65535)]);
        assert_eq!(compiled("dport != :22"), [remote(0, 21), remote(23, 65535)]);
        assert_eq!(compiled("dport != :0"), [remote(1, 65535)]);
        assert_eq!(compiled("dport != :65535"), [remote(0, 65534)]);
        assert_eq!(compiled("netns = 5"), [Clause { netns: 5, ..Clause::ANY }]);
        assert_eq!(compiled("netns = self"), [Clause { netns: OWN, ..Clause::ANY }]);
        assert_eq!(
            compiled("not (sport = :1 or dport > :9)"),
            [
                Clause { local_ports: [0, 0], remote_ports: [0, 9], ..Clause::ANY },
                Clause { local_ports: [2, 65535], remote_ports: [0, 9], ..Clause::ANY }
            ]
        );
    }

    #[test]
    fn the_example_of_the_manual() {
        let text =
            "state established and ( dport = :443 or dport = :http ) and not src 127.0.0.0/8";
        let established = |port| Clause { states: 1 << 1, ..remote(port, port) };
        assert_eq!(compiled(text), [established(443), established(80)]);
    }

    #[test]
    fn what_the_kernel_cannot_decide_is_everything_whichever_way_round() {
        for text in ["pid = 1", "comm = a", "uid = 1", "cgroup = 1", "src 10.0.0.1", "netns != 1"] {
            assert_eq!(compiled(text), [], "{text}");
            assert_eq!(compiled(&format!("not ({text})")).len(), usize::from(text == "netns != 1"));
            assert_eq!(compiled(&format!("dport = :1 and {text}")), [remote(1, 1)], "{text}");
            assert_eq!(compiled(&format!("dport = :1 or {text}")), [], "{text}");
            assert_eq!(compiled(&format!("not (dport != :1 or {text})")).len(), 1, "{text}");
        }
        assert_eq!(compiled("dst 10.0.0.0/8:443"), [remote(443, 443)]);
        assert_eq!(compiled("dst != 10.0.0.0/8:443"), []);
    }

    #[test]
    fn what_is_always_true_needs_no_clause_and_what_never_is_has_one() {
        for text in ["", "state all", "sport >= :0", "dport = :1 or src *", "not dport < :0"] {
            assert_eq!(filter(text).clauses(), KernelFilter::ANY, "{text}");
        }
        for text in ["exclude all", "sport < :0", "state big and state bucket", "not src *"] {
            assert_eq!(compiled(text), [Clause::NONE], "{text}");
        }
        assert_eq!(compiled("netns = 1 and netns = 2"), [Clause::NONE]);
    }

    #[test]
    fn drops_what_another_clause_covers() {
        assert_eq!(compiled("dport = :5 or dport < :9 or dport = :5"), [remote(0, 8)]);
        assert_eq!(compiled("dport < :9 and dport > :3 or dport < :0"), [remote(4, 8)]);
        assert_eq!(compiled("(netns = 1 and dport = :5) or dport = :5"), [remote(5, 5)]);
        assert_eq!(compiled("netns = 1 or netns = 2").len(), 2);
    }

    #[test]
    fn covers_them_all_where_there_are_too_many() {
        let ports = |range: std::ops::RangeInclusive<u16>| {
            range.map(|port| format!("dport = :{port}")).collect::<Vec<_>>().join(" or ")
        };
        assert_eq!(compiled(&ports(1..=8)).len(), 8);
        assert_eq!(compiled(&ports(1..=9)), [remote(1, 9)]);
        assert_eq!(compiled(&ports(1..=100)), [remote(1, 100)]);
        let part = format!("state established and sport = :7 and ({})", ports(3..=99));
        let wanted = Clause { states: 1 << 1, local_ports: [7, 7], ..remote(3, 99) };
        assert_eq!(compiled(&part), [wanted]);
    }

    /// A full expansion would have 2 to the 300th clauses.
    #[test]
    fn does_not_grow_exponentially() {
        let text: Vec<_> =
            (1..300).map(|n| format!("(sport = :{n} or dport > :{})", n * 2)).collect();
        let compiled = filter(&text.join(" and ")).clauses();
        assert!(compiled.admits(1, 2, 1, 1, 65535));
        assert!(compiled.admits(1, 2, 1, 7, 700));
    }
}
